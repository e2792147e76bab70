"""Both `/docs` pages in a real browser: *Authorize*, then a call that succeeds, and no request that leaves loopback."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.tabs import check_escaped, check_programs
from tests.e2e.conftest import ROOT, environment, free_ports, running

HERE = Path(__file__).resolve().parent
pytestmark = [
    pytest.mark.browser,
    pytest.mark.clients,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("browser"),
]


@dataclass
class Demo:
    """The demo, running."""

    service: str
    orders: str
    values: dict[str, str]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    check_programs()
    folder = tmp_path_factory.mktemp("demo")
    port, orders_port, billing_port, spa_port = free_ports(4)
    env = environment(
        AUTHMINT_DATA_DIR=str(folder / "data"),
        AUTHMINT_PORT=str(port),
        ORDERS_PORT=str(orders_port),
        BILLING_PORT=str(billing_port),
        SPA_PORT=str(spa_port),
    )
    with running(sys.executable, "examples/demo.py", cwd=ROOT, env=env, output=folder / "said") as process:
        process.wait_until_it_says("Running.", 90)
        lines = (folder / "data" / "demo.env").read_text().splitlines()
        yield Demo(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{orders_port}", dict(line.split("=", 1) for line in lines))


def authorize(**task: Any) -> dict[str, Any]:
    done = subprocess.run(
        ["node", "authorize.mjs"], cwd=HERE, input=json.dumps(task), capture_output=True, text=True, timeout=120, check=False
    )
    assert 0 == done.returncode, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    check_escaped(result["escaped"])
    assert {"127.0.0.1"} == {urlsplit(url).hostname for url in result["requests"] if not url.startswith("data:")}
    assert [] == result["problems"]
    return result


def person(demo: Demo) -> dict[str, str]:
    """Return what a person types into the form of the password flow."""
    return {
        "oauth_username": demo.values["DEMO_USERNAME"],
        "oauth_password": demo.values["DEMO_PASSWORD"],
        "client_id_password": demo.values["DEMO_SPA_CLIENT_ID"],
    }


def test_a_person_authorizes_in_the_token_services_docs_and_reads_their_account(demo: Demo) -> None:
    result = authorize(page=f"{demo.service}/docs", flow="password", fields=person(demo), path="/account/v1")
    assert "200" == result["status"].split()[0]
    assert '"username": "demo"' in result["body"]


def test_a_service_authorizes_in_the_token_services_docs(demo: Demo) -> None:
    fields = {
        "client_id_clientCredentials": demo.values["DEMO_SERVICE_CLIENT_ID"],
        "client_secret_clientCredentials": demo.values["DEMO_SERVICE_CLIENT_SECRET"],
    }
    result = authorize(page=f"{demo.service}/docs", flow="clientCredentials", fields=fields, path="/account/v1")
    assert "200" == result["status"].split()[0]
    assert '"sub_profile": "service"' in result["body"]


def test_a_person_authorizes_in_the_orders_docs_at_the_token_service_and_lists_orders(demo: Demo) -> None:
    result = authorize(page=f"{demo.orders}/docs", flow="password", fields=person(demo), path="/orders")
    assert "200" == result["status"].split()[0]
    assert result["body"].rstrip().endswith("[]")
