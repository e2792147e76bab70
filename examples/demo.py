"""`make run`: `authmint-service dev`, and two services that it protects.

It uses the command `authmint-service` and HTTP, and nothing private. Ctrl-C or SIGTERM stops everything.
"""

import json
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
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
START_SECONDS, STOP_SECONDS = 120, 20
EXISTS = 3  # an exit code of authmint-service


class Stop(Exception):
    """A signal asks to stop."""


class Failure(Exception):
    """The demo cannot continue; the message is for the person at the terminal."""


class Demo:
    """The processes, and the credentials of the orders example."""

    def __init__(self, data_dir: Path, port: int, orders_port: int, billing_port: int, spa_port: int) -> None:
        self._data_dir = data_dir
        self._port, self._orders_port, self._billing_port, self._spa_port = port, orders_port, billing_port, spa_port
        self._orders = f"http://127.0.0.1:{orders_port}"
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **os.environ,
            "AUTHMINT_DATA_DIR": str(data_dir),
            "AUTHMINT_CORS_ORIGINS": f"{self._orders},http://localhost:{orders_port}",
        }

    def run(self) -> None:
        """Run until a signal, or until a process exits by itself. Raise Stop or Failure."""
        for port in (self._port, self._orders_port, self._billing_port, self._spa_port):
            _check_free(port)
        _make_folder(self._data_dir)
        service = self._start_service()
        issuer, page = service["issuer"], service["page"] or ""
        self._environment |= {
            "ORDERS_ISSUER": issuer,
            "ORDERS_URL": self._orders,
            "ORDERS_CORS_ORIGINS": page,
            "ORDERS_BILLING_URL": f"http://127.0.0.1:{self._billing_port}",
            "BILLING_ISSUER": issuer,
        }
        echo("Starting the billing and orders examples …")
        # Its own credentials and no others: no password of a person belongs in the environment of a service.
        self._environment |= self._create_orders_client()
        self._start_example("the billing example", "billing", self._billing_port)
        self._start_example("the orders example", "orders", self._orders_port)
        self._explain(service)
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

    def _start(self, name: str, *command: str, stdout: int | None = None) -> "subprocess.Popen[bytes]":
        # In a session of its own: Ctrl-C is for this process, which then stops the others in order.
        self._children[name] = subprocess.Popen(
            command, env=self._environment, stdin=subprocess.DEVNULL, stdout=stdout, start_new_session=True
        )
        return self._children[name]

    def _start_service(self) -> dict[str, Any]:
        """Start the token service and the page. Return what `authmint-service dev --json` prints when it is ready."""
        command = [str(BIN / "authmint-service"), "dev", "--json", f"--port={self._port}", f"--page-port={self._spa_port}"]
        name = "the token service"
        child = self._start(name, *command, f"--orders-url={self._orders}", stdout=subprocess.PIPE)
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise Failure(f"{name} has ended (exit code {child.wait()}); its output is above.")
        document: dict[str, Any] = json.loads(line)
        return document

    def _start_example(self, name: str, package: str, port: int) -> None:
        self._start(
            name, str(BIN / "uvicorn"), "--app-dir", str(HERE / package), f"{package}.app:app",
            "--port", str(port), "--no-access-log", "--log-level", "warning",
        )  # fmt: skip
        self._wait_for(name, f"http://127.0.0.1:{port}/livez")

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

    def _create_orders_client(self) -> dict[str, str]:
        """Return the credentials of the orders example, of which the first start makes the secret."""
        file = self._data_dir / "orders.env"
        if not file.exists():
            # Written before the client is added: after a crash the next start goes on with the same secret.
            unfinished = file.with_suffix(".tmp")
            unfinished.unlink(missing_ok=True)
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
                opened.write(f"ORDERS_CLIENT_ID=orders\nORDERS_CLIENT_SECRET=amcs_{secrets.token_urlsafe(32)}\n")
            unfinished.rename(file)
        values = dict(line.split("=", 1) for line in file.read_text().splitlines())
        self._command(
            ["clients", "add", values["ORDERS_CLIENT_ID"], "--confidential", "--name=Orders", "--secret-stdin",
             "--resource=billing", "--scope=billing:write"],
            values["ORDERS_CLIENT_SECRET"],
        )  # fmt: skip
        return values

    def _command(self, arguments: list[str], secret: str = "") -> None:
        done = subprocess.run(
            [str(BIN / "authmint-service"), *arguments], env=self._environment, input=f"{secret}\n".encode(),
            capture_output=True, timeout=START_SECONDS, check=False, start_new_session=True,
        )  # fmt: skip
        if done.returncode not in {0, EXISTS}:
            raise Failure(f"authmint-service {' '.join(arguments[:3])} failed: {done.stderr.decode(errors='replace').strip()}")

    def _explain(self, service: dict[str, Any]) -> None:
        issuer, credentials, username = service["issuer"], service["credentials_file"], service["account"]["username"]
        clients = service["clients"]["spa"]["client_id"], service["clients"]["service"]["client_id"]
        token, orders = f"{issuer}/token", f"{self._orders}/orders"
        echo(f"""
  The page        {service["page"] or "(none)"}        sign in as {username!r}; the password is in the file below
  Token service   {issuer}        try it in {issuer}/docs
  Orders example  {self._orders}        try it in {self._orders}/docs
  Billing example http://127.0.0.1:{self._billing_port}        called by orders, in its own name
  Credentials     {credentials}   (account {username!r}, clients {clients[0]!r} and {clients[1]!r})

Sign in, list your orders, stay signed in; paste these into another terminal:

. '{credentials}' && TOKENS=$(curl -s {token} -d grant_type=password -d client_id="$DEMO_SPA_CLIENT_ID" \
-d username="$DEMO_USERNAME" -d password="$DEMO_PASSWORD") && echo "$TOKENS"
curl -s {orders} -H "Authorization: Bearer $(echo "$TOKENS" | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')"
curl -s {token} -d grant_type=refresh_token -d client_id="$DEMO_SPA_CLIENT_ID" \
-d refresh_token="$(echo "$TOKENS" | sed 's/.*"refresh_token":"\\([^"]*\\)".*/\\1/')"

Running. Ctrl-C stops everything, PostgreSQL included.
""")


def echo(message: str) -> None:
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()


def _check_free(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        # The rest of the text repeats the address.
        reason = str(error.strerror).partition(" (while")[0]
        raise Failure(
            f"Port {port} cannot be used ({reason}). Stop what uses it, or choose others: "
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
