"""A refresh-token key is replaced in a running service, by a file and SIGHUP, while people use it. An old process returns."""

import base64
import json
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import fetch, free_ports, running
from tests.e2e.test_commands import COMMAND, PASSWORD, Commands
from tests.e2e.test_workers import Service, workers

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("workers")]

FIRST, SECOND, ANOTHER_FIRST = (f"{number}:{base64.b64encode(secrets.token_bytes(32)).decode()}" for number in (1, 2, 1))


class Person:
    """Refreshes again and again; on a 503 it waits as long as it is told, and tries again."""

    def __init__(self, site: str) -> None:
        self._site = site
        self.token = self._redeem(grant_type="password", username="dora", password=PASSWORD)[1]
        self.statuses: list[int] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._refresh)

    @property
    def key_id(self) -> int:
        return base64.urlsafe_b64decode(self.token[5:9])[0]

    def refresh(self) -> tuple[int, str]:
        """Return the status, and the new refresh token or the code of the error."""
        return self._redeem(grant_type="refresh_token", refresh_token=self.token)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _refresh(self) -> None:
        while not self._is_over.is_set():
            status, answer = self.refresh()
            self.statuses.append(status)
            if status == 200:
                self.token = answer
            elif status != 503:
                return
            time.sleep(0.05)

    def _redeem(self, **form: str) -> tuple[int, str]:
        return self.redeem(self._site, **form)

    @staticmethod
    def redeem(site: str, **form: str) -> tuple[int, str]:
        """Return the status, and the new refresh token or the code of the error."""
        status, body, headers = fetch(f"{site}/token", data={"client_id": "spa", **form})
        assert (503 == status) == ("retry-after" in headers)
        members = json.loads(body)
        return status, members.get("refresh_token") or members["error"]


def hang_up(service: Service, text: str) -> None:
    """Let the parent read its settings again, and wait until it says `text` once more."""
    count = service.process.said.count(text)
    service.process.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while service.process.said.count(text) == count:
        assert time.monotonic() < deadline, service.process.said
        time.sleep(0.1)


@contextmanager
def old_process(commands: Commands, file: Path) -> Iterator[str]:
    """A service of one process that still has the first key alone. Yield its site."""
    (port,) = free_ports(1)
    env = commands.env | {"AUTHMINT_PORT": str(port), "AUTHMINT_REFRESH_TOKEN_KEYS_FILE": str(file)}
    env["AUTHMINT_ISSUER"] = f"http://127.0.0.1:{commands.port}"
    with running(COMMAND, "serve", cwd=commands.folder, env=env, output=commands.folder / "old") as process:
        process.wait_for(f"http://127.0.0.1:{port}/livez")
        yield f"http://127.0.0.1:{port}"
        assert 0 == process.stop()


def wait_for_key(service: Service, key_id: int) -> Person:
    """Let people sign in until one has a token of this key, and return that one."""
    deadline = time.monotonic() + 40
    while (person := Person(service.site)).key_id != key_id:
        assert time.monotonic() < deadline, service.process.said
        time.sleep(0.5)
    return person


@pytest.mark.slow
def test_a_key_is_replaced_by_a_signal_and_dropped_and_no_one_is_signed_out_before(tmp_path: Path) -> None:
    """Slow, as the processes begin to use another key with a heartbeat: it waits for that three times."""
    file, commands = tmp_path / "keys", Commands(tmp_path)
    file.write_text(FIRST)
    # Many sign in while the test waits: the first one is not to be evicted.
    env = {"AUTHMINT_REFRESH_TOKEN_KEYS_FILE": str(file), "AUTHMINT_SESSIONS_PER_CLIENT": "1000"}
    with workers(tmp_path, 2, **env) as service:
        for arguments in (("clients", "add", "spa", "--public"), ("accounts", "add", "dora", "--password-stdin")):
            assert 0 == commands.run(*arguments, stdin=f"{PASSWORD}\n").returncode
        old = Person(service.site)
        old.begin()
        try:
            file.write_text(f"{SECOND},{FIRST}")
            hang_up(service, "workers.replaced")
            service.process.wait_until_it_says("secret_key.selected")
            new = wait_for_key(service, 2)
            # A process without the new key starts again: it says that it is not ready, and the others go back.
            (tmp_path / "first").write_text(FIRST)
            with old_process(commands, tmp_path / "first") as site:
                status, body, _ = fetch(f"{site}/readyz")
                assert (503, True) == (status, "lacks the key 2" in body)
                assert 503 == Person.redeem(site, grant_type="refresh_token", refresh_token=new.token)[0]
                status, new.token = new.refresh()
                assert 200 == status
                wait_for_key(service, 1)
            wait_for_key(service, 2)
        finally:
            old.end()
        assert {200} >= set(old.statuses) - {503}
        assert 1 == old.key_id
        rows = {(row["kind"], row["id"]): row for row in json.loads(commands.run("secrets", "list", "--json").stdout)}
        assert [2, 2] == [len(rows["refresh_token", number]["processes"]) for number in (1, 2)]
        assert rows["refresh_token", 1]["sessions"] >= 1
        assert "refresh_token" in commands.run("secrets", "list").stdout
        # The old one is in use: it can be neither dropped nor left out.
        refused = commands.run("secrets", "drop", "1")
        assert (2, True) == (refused.returncode, "live sessions" in refused.stderr)
        file.write_text(SECOND)
        hang_up(service, "AUTHMINT_REFRESH_TOKEN_KEYS lacks the key 1")
        file.write_text(f"{SECOND},{ANOTHER_FIRST}")
        hang_up(service, "AUTHMINT_REFRESH_TOKEN_KEYS has another key with the id 1")
        file.write_text(SECOND)
        assert 200 == old.refresh()[0]
        dropped = commands.run("secrets", "drop", "1", "--force")
        assert 0 == dropped.returncode, dropped.stderr
        hang_up(service, "workers.replaced")
        # For a heartbeat the new processes know of the old ones, which had the key.
        deadline = time.monotonic() + 30
        while (answer := old.refresh())[0] == 503:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert (400, "invalid_grant") == answer
        assert 200 == new.refresh()[0]
        assert 200 == fetch(f"{service.site}/readyz")[0]
        assert 0 == service.process.stop()
