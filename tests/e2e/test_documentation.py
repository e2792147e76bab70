"""Run the commands of the documentation, and compare their output with the documented one. `…` stands for any text."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import ROOT, environment, fetch, free_ports, running

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("documentation")]

TUTORIAL = "docs/tutorial/first-service.md"
DOCUMENTED_SERVICES = [("README.md", "/notes"), ("authmint/README.md", "/orders"), (TUTORIAL, "/notes")]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Demo:
    """The demo, in a folder where its files have the paths that the README names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.orders_port, self.billing_port, self.spa_port = free_ports(4)

    def localize(self, text: str) -> str:
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}").replace(
            "127.0.0.1:8001", f"127.0.0.1:{self.orders_port}"
        )

    def tokens(self, audience: str) -> dict[str, str]:
        """Sign the demo's account in with a client for a service: the demo's own for `orders`, else a new one."""
        import json

        values = dict(line.split("=", 1) for line in (self.folder / ".authmint/demo.env").read_text().splitlines())
        client_id = values["DEMO_SPA_CLIENT_ID"] if audience == "orders" else f"reader-of-{audience}"
        if audience != "orders":
            command = (str(Path(sys.executable).with_name("authmint-service")), "clients", "add", client_id, "--public")
            options = (f"--resource={audience}", f"--scope={audience}:read", f"--data-dir={self.folder / '.authmint'}")
            subprocess.run([*command, *options], env=environment(), check=True, timeout=60)
        form = {
            "grant_type": "password", "client_id": client_id, "username": values["DEMO_USERNAME"],
            "password": values["DEMO_PASSWORD"],
        }  # fmt: skip
        tokens: dict[str, str] = json.loads(fetch(f"http://127.0.0.1:{self.port}/token", data=form)[1])
        return tokens


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    found = Demo(tmp_path_factory.mktemp("readme"))
    # As in a clone: the commands of the documentation are in `.venv/bin`.
    (found.folder / ".venv").mkdir()
    (found.folder / ".venv/bin").symlink_to(Path(sys.executable).parent)
    env = environment(
        AUTHMINT_DATA_DIR=str(found.folder / ".authmint"),
        AUTHMINT_PORT=str(found.port),
        ORDERS_PORT=str(found.orders_port),
        BILLING_PORT=str(found.billing_port),
        SPA_PORT=str(found.spa_port),
    )
    with running(
        sys.executable, str(ROOT / "examples/demo.py"), cwd=found.folder, env=env, output=found.folder / "said"
    ) as process:
        process.wait_until_it_says("Running.", 90)
        yield found


def blocks(document: str, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall((ROOT / document).read_text()) if name == language]


@pytest.mark.slow
def test_the_output_in_the_readmes_tour_is_the_real_one(demo: Demo) -> None:
    commands, outputs = blocks("README.md", "sh"), blocks("README.md", "text")
    assert len(commands) == len(outputs) >= 4
    script = "\necho --next--\n".join(demo.localize(command) for command in commands)
    done = subprocess.run(["bash", "-ec", script], cwd=demo.folder, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    printed = done.stdout.split("--next--\n")
    for expected, actual in zip(outputs, printed, strict=True):
        pattern = ".*".join(re.escape(part) for part in expected.strip().split("…"))
        assert re.fullmatch(pattern, actual.strip()), actual


@pytest.mark.parametrize(("document", "path"), DOCUMENTED_SERVICES)
def test_the_services_in_the_documentation_accept_a_token_and_refuse_its_absence(demo: Demo, document: str, path: str) -> None:
    (code,) = blocks(document, "python")
    names: dict[str, Any] = {}
    exec(compile(demo.localize(code), document, "exec"), names)
    token = demo.tokens(*names["auth"].audiences)["access_token"]

    async def statuses() -> list[int]:
        app = names["app"]
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://own.example") as http,
        ):
            bearer = {"Authorization": f"Bearer {token}"}
            return [(await http.get(path)).status_code, (await http.get(path, headers=bearer)).status_code]

    assert [401, 200] == asyncio.run(statuses())


def test_the_commands_of_the_tutorial_print_what_it_says(demo: Demo) -> None:
    (code,) = blocks(TUTORIAL, "python")
    (demo.folder / "notes.py").write_text(demo.localize(code))
    (port,) = free_ports(1)
    uvicorn = (sys.executable, "-m", "uvicorn", "notes:app", "--port", str(port))
    with running(*uvicorn, cwd=demo.folder, env=environment(), output=demo.folder / "notes.log") as process:
        process.wait_until_it_says("Uvicorn running", 30)
        _make_run, _uvicorn, *steps = blocks(TUTORIAL, "sh")
        script = "\necho --next--\n".join(demo.localize(step).replace("127.0.0.1:8010", f"127.0.0.1:{port}") for step in steps)
        script = script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        done = subprocess.run(["bash", "-ec", script], cwd=demo.folder, capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stderr
    without, signed_in, too_little, explained = done.stdout.replace("\r", "").split("--next--\n")
    assert "HTTP/1.1 401" in without
    assert "WWW-Authenticate: Bearer" in without.replace("www-authenticate", "WWW-Authenticate")
    assert '"Tea"\n["Tea"]\n' == signed_in
    assert "HTTP/1.1 403" in too_little
    assert 'scope="orders:write"' in too_little
    assert "billing" in explained


@pytest.mark.slow
def test_the_tests_in_the_tutorial_pass(tmp_path: Path) -> None:
    (code,), (tests,) = blocks(TUTORIAL, "python"), blocks(TUTORIAL, "py")
    (tmp_path / "notes.py").write_text(code)
    (tmp_path / "test_notes.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_notes.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert "2 passed" in done.stdout, done.stdout


def test_links_inside_the_repository_have_a_target() -> None:
    for document in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "authmint/README.md",
        *ROOT.glob("examples/*/README.md"),
    ):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_makefile_has_the_targets_that_the_documentation_names() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in (*ROOT.glob("*.md"),):
        assert set(re.findall(r"`make ([a-z-]+)", document.read_text())) <= targets, document.name
