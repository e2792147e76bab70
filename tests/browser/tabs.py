"""One browser with many tabs, and the processes that serve the page in them."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from authmint_service.embedded_postgres import embedded_postgres
from tests.e2e.conftest import ROOT, Running, environment, free_ports, running

# Requests of the browser itself: updates, the time, leaked passwords. A proxy refuses them, and a page that requested these
# hosts would be found in `requests`.
BROWSER_HOSTS = (".google.com", ".googleapis.com")
HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
USERNAME, PASSWORD, CLIENT_ID = "dora", "seven green parrots in a boat", "page"


class Browser:
    """Tabs have numbers, in the order in which they were opened."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def do(self, command: str, *arguments: Any) -> Any:
        """Run one of the commands in tabs.mjs. Each ends by itself: the longest wait there is forty seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()
        result = json.loads(self._process.stdout.readline())
        assert "error" not in result, result["error"]
        return result["value"]

    def wait_until(self, state: str, *tabs: int) -> None:
        for tab in tabs:
            self.do("wait", tab, f"body[data-state={state}]")

    def sign_in(self, tab: int, password: str = PASSWORD) -> None:
        self.do("fill", tab, "#username", USERNAME)
        self.do("fill", tab, "#password", password)
        self.do("click", tab, "#sign-in button")

    def wait_until_confirmed(self, tab: int) -> None:
        """Wait until the token service has confirmed a sign-out. The page is signed out before, and has a note until then."""
        code = "while (localStorage.length > 0) await new Promise((resolve) => setTimeout(resolve, 20)); return null;"
        self.do("evaluate", tab, f"(async () => {{ {code} }})()")

    def order(self, tab: int, item: str) -> None:
        """Place an order, and wait until it is in the list."""
        self.do("fill", tab, "#item", item)
        self.do("click", tab, "#place button")
        self.do("wait", tab, f"td:text('{item}')")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a browser. Afterwards check that no request left loopback, and that no page logged an error of its own."""
    with subprocess.Popen(["node", "tabs.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        browser = Browser(process)
        try:
            yield browser
            notes = browser.do("notes")
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
    check_escaped(notes["escaped"])
    assert {urlsplit(url).hostname for url in notes["requests"]} <= {"127.0.0.1", "localhost"}
    assert [] == [problem for problem in notes["problems"] if not problem.startswith("Failed to load resource")]


def check_escaped(lines: list[str]) -> None:
    """Check that all requests to other hosts were of the browser itself."""
    hosts = {urlsplit(line.split()[1] if "//" in line else f"//{line.split()[1]}").hostname or "" for line in lines}
    assert set() == {host for host in hosts if not host.endswith(BROWSER_HOSTS)}, "a request left loopback"


def check_programs() -> None:
    for name in ("node", os.environ.get("AUTHMINT_TEST_CHROMIUM") or "/usr/bin/chromium"):
        assert shutil.which(name), f"{name} is missing. Run `make test`, which says how to get it."


class Site:
    """The token service, which a test stops and starts; orders and the page, which keep running."""

    def __init__(self, folder: Path, access_token_ttl: int, **settings: str) -> None:
        self._folder, self._starts = folder, 0
        port, orders, spa = free_ports(3)
        self.issuer, self.page = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{spa}/"
        self.orders = f"http://127.0.0.1:{orders}"
        self._env = environment(
            **({"AUTHMINT_ENVIRONMENT": "development"} | settings), AUTHMINT_ISSUER=self.issuer,
            AUTHMINT_DATA_DIR=str(folder / "data"), AUTHMINT_PORT=str(port),
            AUTHMINT_ACCESS_TOKEN_TTL=str(access_token_ttl), ORDERS_ISSUER=self.issuer, ORDERS_PORT=str(orders),
            ORDERS_CORS_ORIGINS=self.page.rstrip("/"), SPA_PORT=str(spa), SPA_ISSUER=self.issuer,
            SPA_ORDERS_URL=self.orders, SPA_CLIENT_ID=CLIENT_ID,
        )  # fmt: skip

    @contextmanager
    def token_service(self) -> Iterator[Running]:
        self._starts += 1
        command = (str(BIN / "authmint-service"), "serve")
        with running(*command, cwd=ROOT, env=self._env, output=self._folder / f"service-{self._starts}") as process:
            process.wait_for(f"{self.issuer}/readyz")
            yield process

    def migrate(self) -> None:
        """Make the tables; in production no start does it."""
        self._command("migrate")

    @contextmanager
    def services(self) -> Iterator[None]:
        """Create the account and the client, then run orders and the page. The token service must be running."""
        self._command("accounts", "add", USERNAME, "--password-stdin", echo=PASSWORD)
        self._command(
            "clients", "add", CLIENT_ID, "--public", "--refresh-cookie", f"--origin={self.page.rstrip('/')}",
            "--resource=orders", "--scope=orders:read", "--scope=orders:write",
        )  # fmt: skip
        orders = (
            str(BIN / "uvicorn"), "--app-dir", "examples/orders", "orders.app:app", "--port", self._env["ORDERS_PORT"],
            "--no-access-log", "--log-level", "warning",
        )  # fmt: skip
        page = (sys.executable, "examples/spa/serve.py")
        with ExitStack() as stack:
            for name, command, url in (("orders", orders, self._env["SPA_ORDERS_URL"] + "/livez"), ("page", page, self.page)):
                process = running(*command, cwd=ROOT, env=self._env, output=self._folder / name)
                stack.enter_context(process).wait_for(url)
            yield

    @contextmanager
    def hidden_table(self, table: str) -> Iterator[None]:
        """Hide a table inside the block, so that the token service responds 503."""
        self._rename(table, f"hidden_{table}")
        try:
            yield
        finally:
            self._rename(f"hidden_{table}", table)

    def _rename(self, table: str, other: str) -> None:
        async def rename() -> None:
            async with embedded_postgres(self._folder / "data") as dsn:
                connection = await asyncpg.connect(dsn)
                await connection.execute(f"ALTER TABLE authmint.{table} RENAME TO {other}")
                await connection.close()

        asyncio.run(rename())

    def _command(self, *arguments: str, echo: str = "") -> None:
        command = [str(BIN / "authmint-service"), *arguments]
        subprocess.run(
            command, cwd=ROOT, env=self._env, input=f"{echo}\n".encode(), check=True, timeout=60, capture_output=True
        )


def log_lines(service: Running, event: str) -> list[dict[str, Any]]:
    """Return the lines of the token service's log with this event."""
    lines = [json.loads(line) for line in service.said.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]
