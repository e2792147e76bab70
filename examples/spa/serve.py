"""Serve the page and nothing else: the listed files of this folder, with a strict Content-Security-Policy.

Any web server can do this. The page gets the URLs of the services and its client id as `config.js`.
"""

import json
import os
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "page.js": "text/javascript; charset=utf-8",
    "session.js": "text/javascript; charset=utf-8",
    "orders.js": "text/javascript; charset=utf-8",
}

ISSUER = os.environ.get("SPA_ISSUER", "http://127.0.0.1:8000")
ORDERS = os.environ.get("SPA_ORDERS_URL", "http://127.0.0.1:8001")
CONFIG = {"issuer": ISSUER, "orders": ORDERS, "clientId": os.environ.get("SPA_CLIENT_ID", "demo-page")}

HEADERS = {
    # Scripts come from here alone and none stands in the page; forms are sent by scripts, so no password lands in an address.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src {ISSUER} {ORDERS}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Page(BaseHTTPRequestHandler):
    """Responds to GET and HEAD: a listed file, or 404."""

    timeout = 30

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].removeprefix("/") or "index.html"
        if name == "config.js":
            self._respond(HTTPStatus.OK, "text/javascript; charset=utf-8", f"export default {json.dumps(CONFIG)};\n".encode())
        elif name in FILES:
            self._respond(HTTPStatus.OK, FILES[name], (HERE / name).read_bytes())
        else:
            self._respond(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"Not here.\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _respond(self, status: HTTPStatus, content_type: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": content_type, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def main() -> None:
    with ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("SPA_PORT", "8003"))), Page) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
