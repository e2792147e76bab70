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

    def tokens(self) -> dict[str, str]:
        import json

        values = dict(line.split("=", 1) for line in (self.folder / ".authmint/demo.env").read_text().splitlines())
        form = {
            "grant_type": "password", "client_id": values["DEMO_SPA_CLIENT_ID"], "username": values["DEMO_USERNAME"],
            "password": values["DEMO_PASSWORD"],
        }  # fmt: skip
        tokens: dict[str, str] = json.loads(fetch(f"http://127.0.0.1:{self.port}/token", data=form)[1])
        return tokens


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    found = Demo(tmp_path_factory.mktemp("readme"))
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


@pytest.mark.parametrize(("document", "path"), [("README.md", "/hello"), ("authmint/README.md", "/orders")])
def test_the_services_in_the_documentation_accept_a_token_and_refuse_its_absence(demo: Demo, document: str, path: str) -> None:
    (code,) = blocks(document, "python")
    names: dict[str, Any] = {}
    exec(compile(demo.localize(code), document, "exec"), names)
    token = demo.tokens()["access_token"]

    async def statuses() -> list[int]:
        app = names["app"]
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://own.example") as http,
        ):
            bearer = {"Authorization": f"Bearer {token}"}
            return [(await http.get(path)).status_code, (await http.get(path, headers=bearer)).status_code]

    assert [401, 200] == asyncio.run(statuses())


def test_links_inside_the_repository_have_a_target() -> None:
    for document in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        ROOT / "authmint/README.md",
        *ROOT.glob("examples/*/README.md"),
    ):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_makefile_has_the_targets_that_the_documentation_names() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in (*ROOT.glob("*.md"),):
        assert set(re.findall(r"`make ([a-z-]+)", document.read_text())) <= targets, document.name
