"""Serve the page and nothing else: the listed files of this folder, with a strict Content-Security-Policy.

Any web server can do this. The page gets the URLs of the services and its client id as `config.js`. `authmint-service dev` uses
the class; `python serve.py` reads the variables SPA_….
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
    "token_service.js": "text/javascript; charset=utf-8",
    "orders.js": "text/javascript; charset=utf-8",
}


class PageServer(ThreadingHTTPServer):
    """Serves the page on loopback."""

    def __init__(self, port: int, *, issuer: str, orders: str, client_id: str) -> None:
        """`port`: 0 is any that is free; `orders`: the URL of the orders example, "" if there is none."""
        super().__init__(("127.0.0.1", port), Page)
        self.config = {"issuer": issuer, "orders": orders, "clientId": client_id}
        # Scripts come from here alone and none stands in the page. Forms are sent by scripts: no password lands in an address.
        self.headers = {
            "Content-Security-Policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                f"connect-src {issuer} {orders}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
                "require-trusted-types-for 'script'; trusted-types 'none'"
            ),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-cache",
        }


class Page(BaseHTTPRequestHandler):
    """Responds to GET and HEAD: a listed file, or 404."""

    server: PageServer
    timeout = 30

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].removeprefix("/") or "index.html"
        if name == "config.js":
            config = f"export default {json.dumps(self.server.config)};\n"
            self._respond(HTTPStatus.OK, "text/javascript; charset=utf-8", config.encode())
        elif name in FILES:
            self._respond(HTTPStatus.OK, FILES[name], (HERE / name).read_bytes())
        else:
            self._respond(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"Not here.\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _respond(self, status: HTTPStatus, content_type: str, content: bytes) -> None:
        self.send_response(status)
        headers = {**self.server.headers, "Content-Type": content_type, "Content-Length": str(len(content))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def main() -> None:
    with PageServer(
        int(os.environ.get("SPA_PORT", "8003")),
        issuer=os.environ.get("SPA_ISSUER", "http://127.0.0.1:8000"),
        orders=os.environ.get("SPA_ORDERS_URL", "http://127.0.0.1:8001"),
        client_id=os.environ.get("SPA_CLIENT_ID", "demo-page"),
    ) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
