"""A refresh-token key is replaced in a running service, by a file and SIGHUP, while people use it."""

import base64
import json
import secrets
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import fetch
from tests.e2e.test_commands import PASSWORD, Commands
from tests.e2e.test_workers import Service, workers

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("workers")]

FIRST, SECOND = (f"{number}:{base64.b64encode(secrets.token_bytes(32)).decode()}" for number in (1, 2))


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
        status, body, headers = fetch(f"{self._site}/token", data={"client_id": "spa", **form})
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


@pytest.mark.slow
def test_a_key_is_replaced_by_a_signal_and_dropped_and_no_one_is_signed_out_before(tmp_path: Path) -> None:
    """Slow, as the processes begin to use the new key with a heartbeat: it waits for up to ten seconds."""
    file, commands = tmp_path / "keys", Commands(tmp_path)
    file.write_text(FIRST)
    with workers(tmp_path, 2, AUTHMINT_REFRESH_TOKEN_KEYS_FILE=str(file)) as service:
        for arguments in (("clients", "add", "spa", "--public"), ("accounts", "add", "dora", "--password-stdin")):
            assert 0 == commands.run(*arguments, stdin=f"{PASSWORD}\n").returncode
        old = Person(service.site)
        old.begin()
        try:
            file.write_text(f"{SECOND},{FIRST}")
            hang_up(service, "workers.replaced")
            service.process.wait_until_it_says("secret_key.selected")
            deadline = time.monotonic() + 30
            while (new := Person(service.site)).key_id != 2:
                assert time.monotonic() < deadline
                time.sleep(0.5)
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
