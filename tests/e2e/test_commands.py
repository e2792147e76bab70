"""The command `authmint-service`, as a person or a program uses it.

Commands run in this process, through `main`, because the start of a process costs more than the command. A process is
started for `serve`, and for what only a process shows: the exit code in the shell, and which modules are imported.
"""

import asyncio
import io
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from authmint_service.cli import main, unavailable_sentence
from authmint_service.database import Database
from authmint_service.embedded_postgres import embedded_postgres
from authmint_service.errors import DatabaseUnavailable
from tests.e2e.conftest import ROOT, environment, fetch, free_ports, running

pytestmark = [pytest.mark.process, pytest.mark.timeout(180), pytest.mark.xdist_group("commands")]

COMMAND = str(Path(sys.executable).with_name("authmint-service"))
PASSWORD = "seven green parrots in a boat"


class Commands:
    """Runs commands on one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        self.env = environment(
            AUTHMINT_ENVIRONMENT="development",
            AUTHMINT_DATA_DIR=str(folder / "data"),
            AUTHMINT_PORT=str(self.port),
            COLUMNS="200",
        )

    def run(self, *arguments: str, stdin: str = "", **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in this process. `serve` gets a process, because it forks and sets signal handlers and the log."""
        if arguments[0] == "serve":
            return self.run_process(*arguments, stdin=stdin, **env)
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (self.env | env).items():
                if os.environ.get(name) != value:
                    patch.setenv(name, value)
            patch.chdir(self.folder)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as exited:
                main(arguments)
        return subprocess.CompletedProcess(arguments, int(exited.value.code or 0), out.getvalue(), err.getvalue())

    def run_process(self, *arguments: str, stdin: str = "", **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in a process of its own."""
        done = subprocess.run(
            [COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.env | env,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Another process holds the server, so that each command does not start it anew."""
    from tests.e2e.test_embedded_postgres import dsn_of, hold, release

    found = Commands(tmp_path_factory.mktemp("commands"))
    holder = hold(found.folder / "data")
    dsn_of(holder)
    assert 0 == found.run("migrate").returncode
    yield found
    release(holder)


def test_an_account_is_added_listed_and_not_added_twice(commands: Commands) -> None:
    added = commands.run("accounts", "add", "Alice", "--json")
    assert 0 == added.returncode, added.stderr
    account = json.loads(added.stdout)
    assert {"username", "id", "password"} == set(account)
    assert "alice" == account["username"]
    assert account["password"] not in commands.run("accounts", "list").stdout
    (listed,) = (one for one in json.loads(commands.run("accounts", "list", "--json").stdout) if one["username"] == "alice")
    assert {"username": "alice", "id": account["id"], "state": "active", "disabled_reason": None} == listed
    again = commands.run("accounts", "add", "ALICE")
    assert (3, "An account alice exists already.\n") == (again.returncode, again.stderr)


def test_the_reason_of_a_disabled_account_is_listed_and_stays_until_there_is_another(commands: Commands) -> None:
    def state(*arguments: str) -> tuple[str, str | None]:
        assert 0 == commands.run("accounts", *arguments).returncode
        (one,) = (one for one in json.loads(commands.run("accounts", "list", "--json").stdout) if one["username"] == "rita")
        return one["state"], one["disabled_reason"]

    assert ("active", None) == state("add", "rita")
    assert ("disabled", None) == state("disable", "rita")
    assert ("disabled", "left the firm") == state("disable", "rita", "--reason", "left the firm")
    assert ("disabled", "left the firm") == state("disable", "rita")
    assert "left the firm" in commands.run("accounts", "list").stdout
    assert ("disabled", "is back, on leave") == state("disable", "rita", "--reason", "is back, on leave")
    assert ("active", None) == state("enable", "rita")


@pytest.mark.slow
def test_a_process_returns_the_exit_code_to_the_shell(commands: Commands) -> None:
    assert 0 == commands.run_process("accounts", "add", "walter").returncode
    again = commands.run_process("accounts", "add", "walter")
    assert (3, 1) == (again.returncode, len(again.stderr.splitlines()))


def test_the_version_is_printed(commands: Commands) -> None:
    done = commands.run("--version")
    assert (0, f"authmint-service {version('authmint-service')}\n") == (done.returncode, done.stdout)


IMPORTS = """
import sys
from authmint_service.cli import main, unavailable_sentence

for line in sys.argv[1:]:
    try:
        main(line.split())
    except SystemExit as done:
        assert not done.code, line
    print(*sys.modules, file=sys.stderr)
"""


def test_a_command_imports_only_what_it_needs(commands: Commands) -> None:
    """All commands run one after another in one process, so the modules of the last are those of all."""
    lines = [
        "accounts list --json", "clients list --json", "tokens revoke --all", "accounts add xenia",
        "accounts set-password xenia", "sessions list xenia", "sessions prune", "keys list --json", "keys rotate",
    ]  # fmt: skip
    command = [sys.executable, "-c", IMPORTS, *lines]
    done = subprocess.run(command, cwd=commands.folder, env=commands.env, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    imported = [set(line.split()) for line in done.stderr.splitlines()]
    assert len(lines) == len(imported)
    assert not {"fastapi", "starlette", "uvicorn", "httpx2", "alembic", "sqlalchemy"} & imported[-1]
    for modules in imported[:3]:
        assert not {"jose", "cryptography", "passlib", "zxcvbn", "rich", "structlog"} & modules


def test_a_password_from_standard_input_is_not_shown_and_is_held_to_the_rules(commands: Commands) -> None:
    added = commands.run("accounts", "add", "bob", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert 0 == added.returncode
    assert PASSWORD not in added.stdout + added.stderr
    for bad in ("", "canary", "a" * 300, "aaaaaaaaaaaaaaaaaaaa"):
        refused = commands.run("accounts", "add", "carol", "--password-stdin", stdin=f"{bad}\n")
        assert 2 == refused.returncode
        assert 1 == len(refused.stderr.splitlines())
        assert not bad or bad not in refused.stderr


def test_a_clients_secret_is_shown_once(commands: Commands) -> None:
    added = json.loads(
        commands.run("clients", "add", "robot", "--confidential", "--scope", "a", "--resource", "x", "--json").stdout
    )
    assert added["client_secret"].startswith("amcs_")
    listed = commands.run("clients", "list", "--json").stdout
    assert added["client_secret"] not in listed
    (robot,) = (one for one in json.loads(listed) if one["client_id"] == "robot")
    assert (["client_credentials"], ["a"], ["x"], ["x"]) == (
        robot["grants"], robot["scopes"], robot["resources"], robot["default_resources"],
    )  # fmt: skip
    assert "robot" in commands.run("clients", "list").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("clients", "add", "x"), ("clients", "add", "x y", "--public"),
        ("clients", "add", "x", "--public", "--grant", "implicit"), ("clients", "add", "x", "--public", "--scope", "a b"),
        ("clients", "add", "x", "--public", "--grant", "client_credentials"),
        ("clients", "add", "x", "--public", "--default-resource", "other", "--resource", "one"), ("accounts", "add", "a b"),
        ("accounts", "add", ""), ("clients", "add", "x", "--public", "--secret-stdin"), ("accounts", "add"), ("nonsense",),
        ("clients", "add", "x", "--confidential", "--secret-stdin"), ("clients", "add", "x", "--public", "--refresh-cookie"),
        ("clients", "add", "x", "--public", "--refresh-cookie", "--origin", "https://app.example.com/"),
        ("clients", "add", "x", "--public", "--refresh-cookie", "--origin", "https://app.another-site.example"),
    ],
)  # fmt: skip
def test_wrong_usage_has_an_exit_code_of_its_own(commands: Commands, arguments: tuple[str, ...]) -> None:
    done = commands.run(*arguments)
    assert 2 == done.returncode
    assert done.stderr


def test_a_wrong_setting_stops_every_command_with_a_sentence_that_names_it(commands: Commands) -> None:
    for arguments in (("serve",), ("accounts", "list"), ("clients", "list")):
        done = commands.run(*arguments, AUTHMINT_REFRESH_GRACE_SECONDS="500")
        assert 2 == done.returncode
        assert done.stderr.startswith("AUTHMINT_REFRESH_GRACE_SECONDS is wrong")
        assert 1 == len(done.stderr.splitlines())


def test_production_refuses_to_start_without_its_secrets(commands: Commands) -> None:
    done = commands.run("serve", AUTHMINT_ENVIRONMENT="production", AUTHMINT_ISSUER="https://auth.example")
    missing = ["AUTHMINT_DATABASE_URL", "AUTHMINT_KEY_ENCRYPTION_KEYS", "AUTHMINT_REFRESH_TOKEN_KEYS"]
    assert (2, missing) == (done.returncode, [line.split()[0] for line in done.stderr.splitlines()])


def test_a_database_that_cannot_be_reached_is_a_sentence_and_code_4(commands: Commands) -> None:
    for arguments in (("migrate",), ("accounts", "list")):
        done = commands.run(*arguments, AUTHMINT_DATABASE_URL="postgresql://nobody:canary@127.0.0.1:1/none")
        assert 4 == done.returncode
        assert done.stderr.startswith("The database cannot be reached")
        assert 1 == len(done.stderr.splitlines())
        assert "canary" not in done.stderr


def test_who_uses_an_embedded_database_is_not_sent_to_a_setting_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    error = DatabaseUnavailable("no answer in time")
    monkeypatch.delenv("AUTHMINT_DATABASE_URL", raising=False)
    assert "AUTHMINT_DATABASE_URL" not in unavailable_sentence(error)
    monkeypatch.setenv("AUTHMINT_DATABASE_URL", NOWHERE)
    assert "AUTHMINT_DATABASE_URL" in unavailable_sentence(error)


NOWHERE = "postgresql://nobody:canary@127.0.0.1:1/none"


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("{socket}&connect_timeout=5&schema=public", 0, "passed over: connect_timeout, schema"),
        ("{none}", 4, 'database "none" does not exist'),
        ("{other}", 4, 'role "other" does not exist'),
        ("{socket}&jit=canary", 4, "requires a Boolean value"),
        ("{socket}&canary=1", 2, "AUTHMINT_DATABASE_URL is wrong: parameter 2"),
        (f"{NOWHERE}?sslmode=verify-full&sslrootcert=/none", 4, "No such file or directory"),
    ],
)  # fmt: skip
def test_every_command_says_in_one_sentence_why_the_database_refuses_it(
    commands: Commands, url: str, code: int, words: str
) -> None:
    """Kind: a traceback in place of the database's own words."""
    host = f"?host={commands.folder / 'data/postgres.socket'}"
    given = url.format(
        socket=f"postgresql://authmint@/authmint{host}", none=f"postgresql://authmint@/none{host}",
        other=f"postgresql://other@/authmint{host}",
    )  # fmt: skip
    for arguments in (("migrate",), ("accounts", "list"), ("keys", "list"), ("after-restore", "--json")):
        done = commands.run(*arguments, AUTHMINT_DATABASE_URL=given)
        assert code == done.returncode or (code == 0 and "--yes" in done.stderr), done.stderr
        if code or arguments == ("migrate",):
            assert (words in done.stderr, 1) == (True, len(done.stderr.splitlines())), done.stderr
        assert "canary" not in done.stderr.replace("canary=1", "")


def test_a_taken_port_is_a_sentence(commands: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = commands.run("serve", AUTHMINT_PORT=str(taken.getsockname()[1]))
    assert 1 == done.returncode
    assert done.stderr.startswith("Port ")
    assert 1 == len(done.stderr.splitlines())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_serve_responds_and_stops_cleanly_on_a_signal(commands: Commands, tmp_path: Path, number: int) -> None:
    with running(COMMAND, "serve", cwd=commands.folder, env=commands.env, output=tmp_path / "said") as process:
        process.wait_for(f"http://127.0.0.1:{commands.port}/readyz")
        assert 0 == process.stop(number)
        assert "Traceback" not in process.said


@pytest.mark.slow
def test_an_operator_revokes_sessions_and_changes_passwords(commands: Commands, tmp_path: Path) -> None:
    site = f"http://127.0.0.1:{commands.port}"
    for arguments in (("clients", "add", "spa", "--public"), ("accounts", "add", "dora", "--password-stdin")):
        assert 0 == commands.run(*arguments, stdin=f"{PASSWORD}\n").returncode
    form = {"grant_type": "password", "client_id": "spa", "username": "dora"}

    def sign_in(password: str = PASSWORD) -> tuple[int, dict[str, str]]:
        status, body, _ = fetch(f"{site}/token", data=form | {"password": password})
        return status, json.loads(body)

    def refresh(tokens: dict[str, str]) -> int:
        data = {"grant_type": "refresh_token", "client_id": "spa", "refresh_token": tokens["refresh_token"]}
        return fetch(f"{site}/token", data=data)[0]

    with running(COMMAND, "serve", cwd=commands.folder, env=commands.env, output=tmp_path / "said") as process:
        process.wait_for(f"{site}/readyz")
        first, second = sign_in()[1], sign_in()[1]
        listed = json.loads(commands.run("sessions", "list", "Dora", "--json").stdout)
        assert [("spa", "127.0.0.1")] * 2 == [(one["client_id"], one["ip_address"]) for one in listed]
        assert listed[0]["id"] in commands.run("sessions", "list", "dora").stdout
        # The one used last comes first.
        assert 0 == commands.run("sessions", "revoke", "dora", listed[0]["id"]).returncode
        assert [200, 400] == [refresh(first), refresh(second)]
        again = commands.run("sessions", "revoke", "dora", listed[0]["id"])
        assert (2, 1) == (again.returncode, len(again.stderr.splitlines()))
        changed = commands.run("accounts", "set-password", "dora")
        assert 0 == changed.returncode, changed.stderr
        new = changed.stdout.splitlines()[-1].removeprefix("Password, shown this once: ")
        assert "dora is not signed in.\n" == commands.run("sessions", "list", "dora").stdout
        assert [400, 200] == [sign_in()[0], sign_in(new)[0]]
        assert 0 == commands.run("accounts", "disable", "dora").returncode
        assert 400 == sign_in(new)[0]
        assert 0 == commands.run("accounts", "enable", "dora").returncode
        assert 200 == sign_in(new)[0]
        assert "Deleted 0 sessions.\n" == commands.run("sessions", "prune").stdout
        for refused_arguments in (
            ("accounts", "set-password", "nobody"),
            ("accounts", "disable", "nobody"),
            ("sessions", "list", "nobody"),
        ):
            refused = commands.run(*refused_arguments)
            assert (2, True) == (refused.returncode, refused.stderr.startswith("There is no account nobody."))


def test_an_operator_disables_a_client_and_revokes_all_tokens(commands: Commands) -> None:
    assert 0 == commands.run("clients", "add", "worker", "--confidential").returncode
    for arguments, enabled in ((("clients", "disable"), False), (("clients", "enable"), True)):
        assert 0 == commands.run(*arguments, "worker").returncode
        listed = json.loads(commands.run("clients", "list", "--json").stdout)
        assert [enabled] == [client["enabled"] for client in listed if client["client_id"] == "worker"]
        refused = commands.run(*arguments, "nobody")
        assert (2, True) == (refused.returncode, refused.stderr.startswith("There is no client nobody."))
    assert 0 == commands.run("tokens", "revoke", "--all").returncode
    refused = commands.run("tokens", "revoke")
    assert (2, True) == (refused.returncode, refused.stderr.startswith("Name the tokens: --all."))


def test_an_operator_changes_a_client(commands: Commands) -> None:
    assert 0 == commands.run("clients", "add", "shop", "--public", "--scope=read", "--scope=write").returncode
    assert 0 == commands.run("clients", "add", "plain", "--public").returncode
    updated = json.loads(commands.run("clients", "update", "shop", "--scope=read", "--scope=ship", "--json").stdout)
    assert (["read", "ship"], ["scopes"]) == (updated["scopes"], updated["changed"])
    again = commands.run("clients", "update", "shop", "--scope=ship", "--scope=read")
    assert (0, "shop is like that already.\n") == (again.returncode, again.stdout)
    several = commands.run(
        "clients", "update", "shop", "--no-scopes", "--session-ttl=86400", "--refresh-cookie",
        "--origin=https://app.example.com", AUTHMINT_ISSUER="https://auth.example.com",
    )  # fmt: skip
    lines = "scopes: read ship → none\nsession_ttl: default → 86400\nrefresh_cookie: no → yes\norigins: none → https://app.example.com\n"
    assert (0, lines) == (several.returncode, several.stdout), several.stderr
    default = commands.run("clients", "update", "shop", "--session-ttl=default")
    assert "session_ttl: 86400 → default\n" == default.stdout
    renamed = commands.run("clients", "rename", "shop", "The shop")
    assert "name: shop → The shop\n" == renamed.stdout
    for arguments, sentence in (
        (("shop",), "Name what to change."),
        (("shop", "--scope=a", "--no-scopes"), "Choose: --scope"),
        (("shop", "--origin=https://a.example", "--no-origins"), "Choose: --origin"),
        (("shop", "--scope=two words"), "A scope is printable ASCII"),
        (("shop", "--session-ttl=soon"), "A lifetime is a whole number of seconds"),
        (("shop", "--session-ttl=-1"), "A lifetime is a whole number of seconds"),
        (("shop", "--no-origins"), "Refresh tokens in a cookie are for a public client"),
        (("plain", "--grant=implicit"), "A grant is one of"),
        (("plain", "--grant=client_credentials"), "A public client cannot use client_credentials"),
        (("unknown", "--scope=a"), "There is no client unknown."),
    ):
        refused = commands.run("clients", "update", *arguments)
        assert (2, True) == (refused.returncode, refused.stderr.startswith(sentence)), refused.stderr


def test_an_operator_changes_the_secret_of_a_client_and_sees_when_each_was_used(commands: Commands) -> None:
    assert 0 == commands.run("clients", "add", "batch", "--confidential").returncode
    added = json.loads(commands.run("clients", "add-secret", "batch", "--expires-in-days=30", "--json").stdout)
    assert added["client_secret"].startswith("amcs_")
    shown = json.loads(commands.run("clients", "show", "batch", "--json").stdout)
    assert (2, 0, None) == (len(shown["secrets"]), shown["live_sessions"], shown["secrets"][0]["last_used_at"])
    assert added["expires_at"] in {secret["expires_at"] for secret in shown["secrets"]}
    text = commands.run("clients", "show", "batch")
    assert (0, True, False) == (text.returncode, added["id"] in text.stdout, added["client_secret"] in text.stdout)
    full = commands.run("clients", "add-secret", "batch", "--secret-stdin", stdin="0123456789abcdefghijklmnopqrstuvwxyz\n")
    assert (2, True) == (full.returncode, full.stderr.startswith("batch has 2 live secrets already."))
    assert 0 == commands.run("clients", "remove-secret", "batch", added["id"]).returncode
    gone = commands.run("clients", "remove-secret", "batch", added["id"])
    assert (2, True) == (gone.returncode, gone.stderr.startswith("batch has no secret with this id."))
    unknown = commands.run("clients", "show", "nobody")
    assert (2, True) == (unknown.returncode, unknown.stderr.startswith("There is no client nobody."))


def test_an_operator_deletes_a_client_for_ever(commands: Commands) -> None:
    assert 0 == commands.run("clients", "add", "old", "--public").returncode
    asked = commands.run("clients", "delete", "old")
    assert (2, "This deletes old for ever and ends its 0 live sessions. To do it, add --yes.\n") == (
        asked.returncode, asked.stderr,
    )  # fmt: skip
    assert 0 == commands.run("clients", "show", "old").returncode
    assert 0 == commands.run("clients", "delete", "old", "--yes").returncode
    for arguments in (("show", "old"), ("delete", "old"), ("delete", "old", "--yes"), ("enable", "old")):
        refused = commands.run("clients", *arguments)
        assert (2, True) == (refused.returncode, refused.stderr.startswith("There is no client old.")), arguments
    again = commands.run("clients", "add", "old", "--public")
    assert (3, True) == (again.returncode, again.stderr.startswith("The client old was deleted"))


def test_an_operator_makes_a_restored_database_safe(commands: Commands) -> None:
    shown = commands.run("after-restore")
    assert (2, True) == (shown.returncode, "--yes" in shown.stderr)
    assert "accounts are disabled" in shown.stdout
    assert 0 <= json.loads(commands.run("after-restore", "--yes", "--json").stdout)["revoked_sessions"]
    assert 0 == json.loads(commands.run("after-restore", "--yes", "--json").stdout)["revoked_sessions"]
    done = commands.run("after-restore", "--yes")
    assert (0, True) == (done.returncode, done.stdout.endswith("every token from before is refused within two seconds.\n"))


@pytest.mark.parametrize("ahead", [-7200, 40 * 86_400])
def test_a_command_on_a_computer_with_a_wrong_clock_goes_by_the_databases(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """Otherwise what it revokes is still accepted, or a session that is live is deleted."""
    name, client = f"early-{abs(ahead)}", f"early-{abs(ahead)}"
    assert 0 == commands.run("accounts", "add", name).returncode
    assert 0 == commands.run("clients", "add", client, "--confidential").returncode
    asyncio.run(_execute(commands, SIGN_IN.format(name=name, client=client)))
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + ahead)
    for arguments in (("sessions", "prune"), ("accounts", "disable", name), ("clients", "disable", client)):
        assert 0 == commands.run(*arguments).returncode
    assert 0 == commands.run("tokens", "revoke", "--all").returncode
    assert 4 <= asyncio.run(_execute(commands, JUST_REVOKED.format(name=name, client=client)))


SIGN_IN = """
    INSERT INTO authmint.sessions (handle, id, account_id, client_id, scopes, audiences, started_at, rotated_at,
                                   idle_expires_at, expires_at)
    SELECT decode(md5(account_id::text), 'hex'), gen_random_uuid(), account_id, '{client}', '{{}}', '{{x}}', now(), now(),
           now() + interval '14 days', now() + interval '30 days'
      FROM authmint.account_names WHERE prepared = '{name}' RETURNING 1
"""
JUST_REVOKED = """
    SELECT count(*) FROM (SELECT revoked_at FROM authmint.sessions WHERE client_id = '{client}'
                UNION ALL SELECT recorded_at FROM authmint.changes
                           WHERE takes AND (kind, name) IN (('all', ''), ('client', '{client}'))
                UNION ALL SELECT recorded_at FROM authmint.changes JOIN authmint.account_names ON account_id::text = name
                           WHERE takes AND prepared = '{name}') AS revoked (revoked_at)
     WHERE revoked_at BETWEEN now() - interval '5 minutes' AND now() + interval '1 second'
"""


def test_a_client_has_lifetimes_of_its_own_and_senseless_ones_are_refused(commands: Commands) -> None:
    lifetimes = ("--refresh-grace-seconds=0", "--session-idle-ttl=600", "--session-ttl=3600")
    added = commands.run("clients", "add", "kiosk", "--public", *lifetimes, "--json")
    assert 0 == added.returncode, added.stderr
    client = json.loads(added.stdout)
    assert (0, 600, 3600) == (client["refresh_grace_seconds"], client["session_idle_ttl"], client["session_ttl"])
    for wrong in ("--refresh-grace-seconds=121", "--session-idle-ttl=60", "--session-ttl=1", "--origin=https://x.example/path"):
        refused = commands.run("clients", "add", "other", "--public", wrong)
        assert (2, 1) == (refused.returncode, len(refused.stderr.splitlines())), wrong


@pytest.mark.parametrize("pause", [0.4, 0.8, 1.2])
def test_a_signal_during_the_start_leaves_nothing_behind(tmp_path: Path, pause: float) -> None:
    import time

    from tests.e2e.test_embedded_postgres import is_running

    alone = Commands(tmp_path)
    with running(COMMAND, "serve", cwd=tmp_path, env=alone.env, output=tmp_path / "said") as process:
        time.sleep(pause)
        process.stop(signal.SIGTERM)
    assert not is_running(tmp_path / "data")


@pytest.mark.slow
def test_uvicorns_own_command_serves_the_factory(commands: Commands, tmp_path: Path) -> None:
    uvicorn = str(Path(sys.executable).with_name("uvicorn"))
    command = (uvicorn, "authmint_service.app:create_app", "--factory", "--port", str(commands.port))
    env = commands.env | {"PYTHONPATH": str(ROOT)}
    with running(*command, cwd=commands.folder, env=env, output=tmp_path / "said") as process:
        process.wait_for(f"http://127.0.0.1:{commands.port}/readyz")
        assert 200 == fetch(f"http://127.0.0.1:{commands.port}/.well-known/jwks.json")[0]


def test_help_lists_the_commands(commands: Commands) -> None:
    printed = commands.run("--help").stdout
    for name in ("serve", "migrate", "accounts", "clients", "sessions", "tokens", "keys", "secrets", "dev"):
        assert name in printed


def test_events_are_listed_by_account_kind_and_time(commands: Commands) -> None:
    account = json.loads(commands.run("accounts", "add", "yvonne", "--json").stdout)
    commands.run("accounts", "disable", "yvonne", "--reason", "a \x1b[31mtest")
    listed, by_id = (commands.run("events", "list", "--account", name, "--json") for name in ("yvonne", account["id"]))
    assert 0 == listed.returncode, listed.stderr
    found = json.loads(listed.stdout)
    assert ["account.disabled", "account.created"] == [event["kind"] for event in found]
    assert listed.stdout == by_id.stdout
    assert {"kind": "operator", "id": pwd.getpwuid(os.getuid()).pw_name} == found[0]["actor"]
    assert {"username": "yvonne"} == found[1]["personal"]
    assert found[0]["time"].endswith("+00:00")
    table = commands.run("events", "list", "--account", "yvonne", "--kind", "account.disabled").stdout
    assert "reason=a ?[31mtest" in table
    assert "account.created" not in table
    assert account["password"] not in listed.stdout + table
    after = commands.run("events", "list", "--account", "yvonne", "--since", "2999-01-01T00:00Z")
    assert (0, "No such event was recorded.\n") == (after.returncode, after.stdout)
    assert 1 == len(json.loads(commands.run("events", "list", "--limit", "1", "--json").stdout))
    assert 0 == commands.run("events", "list", "--since", "0001-01-01", "--limit", "1").returncode
    days = "yesterday", "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"
    for wrong, field in (*((("--since", day), "--since") for day in days), (("--kind", "session"), "--kind")):
        refused = commands.run("events", "list", *wrong)
        assert 2 == refused.returncode
        assert field in refused.stderr
        assert "yesterday" not in refused.stderr


def test_deliveries_are_listed_and_dead_ones_tried_again(commands: Commands) -> None:
    empty = commands.run("deliveries", "list")
    assert (0, "Nothing waits to be sent.\n") == (empty.returncode, empty.stdout)
    commands.run("accounts", "add", "zoe")
    statement = (
        "INSERT INTO authmint.deliveries (event_id, kind, target, due_at, attempts, dead_at, last_error) "
        "SELECT max(id), 'test', 'somewhere', now(), 11, now(), '503' FROM authmint.events RETURNING id"
    )
    delivery = asyncio.run(_execute(commands, statement))
    (dead,) = json.loads(commands.run("deliveries", "list", "--dead", "--json").stdout)
    assert {
        "id": delivery,
        "kind": "test",
        "event": "account.created",
        "attempts": 11,
        "last_error": "503",
    }.items() <= dead.items()
    for wrong in ((), (str(delivery), "--all"), (str(2**63),), ("0",)):
        refused = commands.run("deliveries", "retry", *wrong)
        assert (2, False) == (refused.returncode, "Traceback" in refused.stderr)
    assert 2 == commands.run("deliveries", "retry", str(delivery + 1)).returncode
    assert "1 delivery is tried again.\n" == commands.run("deliveries", "retry", str(delivery)).stdout
    assert "No delivery is dead.\n" == commands.run("deliveries", "list", "--dead").stdout
    (again,) = json.loads(commands.run("deliveries", "list", "--json").stdout)
    assert (0, None) == (again["attempts"], again["dead_at"])


async def _execute(commands: Commands, statement: str) -> int:
    """Run a statement on the database of the commands. Return its value."""
    async with embedded_postgres(commands.folder / "data") as dsn, (database := Database(size=1)).open(dsn):
        return int(await database.fetch_value(statement))
