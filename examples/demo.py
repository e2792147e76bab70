"""`make run`: the token service, two services that it protects, a page, one account and four clients.

It uses the command `authmint-service` and HTTP, and nothing private. Ctrl-C or SIGTERM stops everything.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
START_SECONDS, STOP_SECONDS = 120, 20
EXISTS = 3  # an exit code of authmint-service


class Stop(Exception):
    """A signal asks to stop."""


class Failure(Exception):
    """The demo cannot continue; the message is for the person at the terminal."""


class Demo:
    """The processes, and the file with the demo's credentials."""

    def __init__(self, data_dir: Path, port: int, orders_port: int, billing_port: int, spa_port: int) -> None:
        self._credentials = data_dir / "demo.env"
        self._data_dir = data_dir
        self._port, self._orders_port, self._billing_port, self._spa_port = port, orders_port, billing_port, spa_port
        self._issuer = os.environ.get("AUTHMINT_ISSUER") or f"http://127.0.0.1:{port}"
        self._orders = f"http://127.0.0.1:{orders_port}"
        # On the issuer's host, so that both are one site: otherwise a browser does not send the cookie.
        issuer = urlsplit(self._issuer)
        self._page = f"http://{issuer.hostname}:{spa_port}" if issuer.scheme == "http" else ""
        self._page_client = f"demo-page-{spa_port}"
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._shared = [
            "--resource=orders", f"--resource={self._issuer}", "--scope=orders:read", "--scope=orders:write",
        ]  # fmt: skip
        self._environment = {
            **os.environ,
            "AUTHMINT_ENVIRONMENT": "development",
            "AUTHMINT_DATA_DIR": str(data_dir),
            "AUTHMINT_PORT": str(port),
            "AUTHMINT_CORS_ORIGINS": f"{self._orders},http://localhost:{orders_port}",
            "AUTHMINT_DOCS_CLIENT_ID": "demo-spa",
            "AUTHMINT_LOG_FORMAT": os.environ.get("AUTHMINT_LOG_FORMAT", "console"),
            "ORDERS_ISSUER": self._issuer,
            "ORDERS_URL": f"http://127.0.0.1:{orders_port}",
            "ORDERS_CORS_ORIGINS": self._page,
            "ORDERS_BILLING_URL": f"http://127.0.0.1:{billing_port}",
            "BILLING_ISSUER": self._issuer,
            "SPA_PORT": str(spa_port),
            "SPA_ISSUER": self._issuer,
            "SPA_ORDERS_URL": self._orders,
            "SPA_CLIENT_ID": self._page_client,
        }

    def run(self) -> None:
        """Run until a signal, or until a process exits by itself. Raise Stop or Failure."""
        for port in (self._port, self._orders_port, self._billing_port, self._spa_port):
            _check_free(port)
        _make_folder(self._data_dir)
        echo("Starting PostgreSQL and the token service …")
        self._start("the token service", str(BIN / "authmint-service"), "serve")
        self._wait_for("the token service", f"http://127.0.0.1:{self._port}/readyz")
        self._create_accounts()
        self._start_example("the billing example", "billing", self._billing_port)
        self._start_example("the orders example", "orders", self._orders_port)
        self._start_page()
        self._explain()
        while True:
            time.sleep(0.2)
            self._check_children()

    def stop(self) -> None:
        """Stop the processes, the last one first. The token service stops PostgreSQL."""
        for name, child in reversed(self._children.items()):
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                echo(f"{name} does not stop; killing it.")
                child.kill()
                child.wait()

    def _start(self, name: str, *command: str) -> None:
        # In a session of its own: Ctrl-C is for this process, which then stops the others in order.
        self._children[name] = subprocess.Popen(
            command, env=self._environment, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def _start_example(self, name: str, package: str, port: int) -> None:
        self._start(
            name, str(BIN / "uvicorn"), "--app-dir", str(HERE / package), f"{package}.app:app",
            "--port", str(port), "--no-access-log", "--log-level", "warning",
        )  # fmt: skip
        self._wait_for(name, f"http://127.0.0.1:{port}/livez")

    def _start_page(self) -> None:
        if not self._page:
            echo("No page: it is on http, and browsers send its cookie only to an issuer on http.")
            return
        self._start("the page", sys.executable, str(HERE / "spa" / "serve.py"))
        self._wait_for("the page", f"http://127.0.0.1:{self._spa_port}/")

    def _wait_for(self, name: str, url: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        no_proxy = urllib.request.ProxyHandler({})
        while time.monotonic() < deadline:
            self._check_children()
            with suppress(OSError, urllib.error.URLError), urllib.request.build_opener(no_proxy).open(url, timeout=2):
                return
            time.sleep(0.1)
        raise Failure(f"{name} did not respond at {url} within {START_SECONDS} seconds.")

    def _check_children(self) -> None:
        for name, child in self._children.items():
            if child.poll() is not None:
                raise Failure(f"{name} has ended (exit code {child.returncode}); its output is above.")

    def _create_accounts(self) -> None:
        if self._credentials.exists():
            echo(f"Found the demo's credentials in {self._credentials}.")
            self._give_to_orders(_read(self._credentials))
            self._create_page_client()
            return
        echo("Creating one account and four clients …")
        values = self._new_credentials()
        self._give_to_orders(values)
        self._command(["accounts", "add", values["DEMO_USERNAME"], "--password-stdin"], values["DEMO_PASSWORD"])
        self._command(["clients", "add", values["DEMO_SPA_CLIENT_ID"], "--public", "--name=Demo SPA", *self._shared])
        self._command(
            ["clients", "add", values["DEMO_SERVICE_CLIENT_ID"], "--confidential", "--name=Demo service", "--secret-stdin",
             *self._shared],
            values["DEMO_SERVICE_CLIENT_SECRET"],
        )  # fmt: skip
        self._command(
            ["clients", "add", values["ORDERS_CLIENT_ID"], "--confidential", "--name=Orders", "--secret-stdin",
             "--resource=billing", "--scope=billing:write"],
            values["ORDERS_CLIENT_SECRET"],
        )  # fmt: skip
        self._credentials.with_suffix(".env.new").rename(self._credentials)
        echo(f"Wrote their secrets to {self._credentials}.")
        self._create_page_client()

    def _create_page_client(self) -> None:
        # The client is bound to the page's origin, so on another port it is another client.
        if not self._page or _read(self._credentials).get("DEMO_PAGE_CLIENT_ID") == self._page_client:
            return
        self._command(
            ["clients", "add", self._page_client, "--public", "--name=Demo page", "--refresh-cookie", f"--origin={self._page}",
             *self._shared]
        )  # fmt: skip
        with self._credentials.open("a") as file:
            file.write(f"DEMO_PAGE_CLIENT_ID={self._page_client}\n")

    def _give_to_orders(self, values: dict[str, str]) -> None:
        # Its own credentials and no others: no password of a person belongs in the environment of a service.
        self._environment.update((name, value) for name, value in values.items() if name.startswith("ORDERS_"))

    def _new_credentials(self) -> dict[str, str]:
        """Write the credentials before they are used, so that the next start after a crash continues with the same ones."""
        draft = self._credentials.with_suffix(".env.new")
        if draft.exists():
            return _read(draft)
        values = {
            "DEMO_USERNAME": "demo",
            "DEMO_PASSWORD": secrets.token_urlsafe(18),
            "DEMO_SPA_CLIENT_ID": "demo-spa",
            "DEMO_SERVICE_CLIENT_ID": "demo-service",
            "DEMO_SERVICE_CLIENT_SECRET": f"amcs_{secrets.token_urlsafe(32)}",
            "ORDERS_CLIENT_ID": "orders",
            "ORDERS_CLIENT_SECRET": f"amcs_{secrets.token_urlsafe(32)}",
        }
        unfinished = draft.with_suffix(".tmp")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{name}={value}\n" for name, value in values.items())
        unfinished.rename(draft)
        return values

    def _command(self, arguments: list[str], secret: str = "") -> None:
        done = subprocess.run(
            [str(BIN / "authmint-service"), *arguments], env=self._environment, input=f"{secret}\n".encode(),
            capture_output=True, timeout=START_SECONDS, check=False, start_new_session=True,
        )  # fmt: skip
        if done.returncode not in {0, EXISTS}:
            raise Failure(f"authmint-service {' '.join(arguments[:3])} failed: {done.stderr.decode(errors='replace').strip()}")

    def _explain(self) -> None:
        token, orders = f"{self._issuer}/token", f"{self._orders}/orders"
        echo(f"""
  The page        {self._page or "(none)"}        sign in as {"demo"!r}; the password is in the file below
  Token service   {self._issuer}        try it in {self._issuer}/docs
  Orders example  {self._orders}        try it in {self._orders}/docs
  Billing example http://127.0.0.1:{self._billing_port}        called by orders, in its own name
  Credentials     {self._credentials}   (account {"demo"!r}, clients 'demo-spa' and 'demo-service')

Sign in, list your orders, stay signed in; paste these into another terminal:

. '{self._credentials}' && TOKENS=$(curl -s {token} -d grant_type=password -d client_id="$DEMO_SPA_CLIENT_ID" \
-d username="$DEMO_USERNAME" -d password="$DEMO_PASSWORD") && echo "$TOKENS"
curl -s {orders} -H "Authorization: Bearer $(echo "$TOKENS" | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')"
curl -s {token} -d grant_type=refresh_token -d client_id="$DEMO_SPA_CLIENT_ID" \
-d refresh_token="$(echo "$TOKENS" | sed 's/.*"refresh_token":"\\([^"]*\\)".*/\\1/')"

Running. Ctrl-C stops everything, PostgreSQL included.
""")


def _read(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def echo(message: str) -> None:
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()


def _check_free(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise Failure(
            f"Port {port} cannot be used ({error.strerror}). Stop what uses it, or choose others: "
            "make run AUTHMINT_PORT=… ORDERS_PORT=… BILLING_PORT=… SPA_PORT=…"
        ) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise Failure(
            f"The folder {folder} cannot be written ({error.strerror}). Choose another: make run AUTHMINT_DATA_DIR=…"
        ) from error


def _stop(number: int, _: FrameType | None) -> NoReturn:
    # A second signal must not interrupt the stop.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise Stop(signal.Signals(number).name)


def main() -> int:
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    data_dir = Path(os.environ.get("AUTHMINT_DATA_DIR") or HERE.parent / ".authmint").absolute()
    known = {"AUTHMINT_PORT": 8000, "ORDERS_PORT": 8001, "BILLING_PORT": 8002, "SPA_PORT": 8003}
    demo = Demo(data_dir, *(int(os.environ.get(name) or number) for name, number in known.items()))
    try:
        demo.run()
    except Stop:
        echo("\nStopping …")
        demo.stop()
        echo("Stopped. The next `make run` starts with the same accounts, clients and keys.")
        return 0
    except Failure as failure:
        demo.stop()
        sys.stderr.write(f"{failure}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
