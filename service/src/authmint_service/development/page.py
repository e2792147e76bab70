"""The example page, served by its own program from the wheel or the clone."""

import importlib.util
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

# Inside the package in an installed wheel, beside it in a checkout.
_FOLDER = next(
    folder
    for folder in (Path(__file__).parents[1] / "_spa", Path(__file__).resolve().parents[4] / "examples" / "spa")
    if (folder / "serve.py").exists()
)


def make_page_server(port: int, *, issuer: str, orders: str, client_id: Callable[[int], str]) -> ThreadingHTTPServer:
    """Return a server of the page that listens on loopback. Raise OSError if the port cannot be used.

    `port`: 0 is any that is free; `orders`: the URL of the orders example, "" if there is none; `client_id`: by the port.
    """
    spec = importlib.util.spec_from_file_location("authmint_page", _FOLDER / "serve.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = module.PageServer(port, issuer=issuer, orders=orders, client_id="")
    server.config["clientId"] = client_id(server.server_port)
    assert isinstance(server, ThreadingHTTPServer)
    return server


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Serve inside the block, in a thread."""
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="page", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
