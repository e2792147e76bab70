"""A page's origin and a token service in one, whose responses a test writes: what a real token service never sends."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

SPA = Path(__file__).resolve().parents[2] / "examples" / "spa"
HTML = (200, {"Content-Type": "text/html"}, "<html><body>Please accept our terms</body></html>")
Answer = tuple[int, dict[str, str], str]


@dataclass
class Sent:
    """A request as the server received it."""

    method: str
    path: str
    headers: dict[str, str]
    body: str

    @property
    def client_id(self) -> str:
        return parse_qs(self.body).get("client_id", [""])[0]


@dataclass
class ScriptedSite:
    """`answers`: by path, or by path and client id where clients differ; otherwise 404. The last of a list stays."""

    url: str
    answers: dict[str, Answer | list[Answer]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)

    def answer(self, sent: Sent) -> Answer:
        self.sent.append(sent)
        found = self.answers.get(f"{sent.path} {sent.client_id}", self.answers.get(sent.path, (404, {}, "")))
        if isinstance(found, tuple):
            return found
        return found.pop(0) if len(found) > 1 else found[0]

    def of(self, path: str, client_id: str = "") -> list[Sent]:
        """Return the requests for a path, of one client or of all."""
        return [one for one in self.sent if one.path == path and client_id in {"", one.client_id}]


@contextmanager
def scripted_site() -> Iterator[ScriptedSite]:
    """Serve a blank page at `/` with the modules of the example page, and the answers of the test."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            file = SPA / self.path.removeprefix("/")
            if self.path == "/":
                answer: Answer = (200, {"Content-Type": "text/html"}, "<!doctype html><body></body>")
            elif file.suffix == ".js" and file.is_file():
                answer = (200, {"Content-Type": "text/javascript"}, file.read_text())
            else:
                answer = site.answer(Sent(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, headers, content = answer
            if status == 0:
                # No response at all.
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content.encode())), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content.encode())

        def __getattr__(self, name: str) -> Any:
            # The server looks for a method of each name of HTTP.
            if name.startswith("do_"):
                return self.do_GET
            raise AttributeError(name)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = ScriptedSite(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
