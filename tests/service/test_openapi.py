"""Requests that Schemathesis makes from the OpenAPI document, right ones and wrong ones, over HTTP (T-12).

No response is a 5xx, and each has a status, a media type and a schema of the document; malformed requests and requests without
a token are refused; `Allow` is right. Sessions that one response names are revoked by another request (stateful). A 400 to a
form that the document allows is no failure: RFC 6749, section 5.2, requires it for wrong credentials too.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, environment
from tests.service.conftest import PASSWORD, Service, StartService
from tests.service.loopback_server import listening

pytestmark = pytest.mark.anyio

SECONDS = int(os.environ.get("AUTHMINT_TEST_OPENAPI_SECONDS", "600"))
COMMAND = (
    str(Path(sys.executable).with_name("st")),
    "run",
    "--no-color",
    "--continue-on-failure",
    "--suppress-health-check",
    "all",
)


async def known_to(service: Service, secret: str, site: str) -> dict[str, Any]:
    """Return what the hooks need."""
    user, spa = await service.add_account(), await service.add_client()
    robot = await service.add_client(secret, scopes=frozenset({"admin:sessions:read", "admin:sessions:write"}))
    person = {"grant_type": "password", "client_id": spa.client_id, "username": user.username, "password": PASSWORD}
    credentials = {"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret}
    return {"site": site, "person": person, "service": credentials}


async def schemathesis(service: Service, secret: str, folder: Path, *arguments: str) -> None:
    """Run Schemathesis. Fails when its report has an error."""
    async with listening(service.app) as site:
        known = await known_to(service, secret, site)
        env = environment(
            SCHEMATHESIS_HOOKS="tests.service.openapi_hooks", PYTHONPATH=str(ROOT), OPENAPI_KNOWN=json.dumps(known)
        )
        process = await asyncio.create_subprocess_exec(
            # A list whose entries were all deleted is still there, and empty: `use_after_free` takes that for a fault.
            *COMMAND, "--exclude-checks", "positive_data_acceptance,use_after_free",
            "--report", "json", "--report-json-path", "report.json",
            *arguments, f"{site}/openapi.json", cwd=folder, env=env, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert 0 == process.returncode, said.decode()
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    cases = report["test_cases"]
    assert 0 == cases["with_failures"] == cases["errored"], cases
    assert report["operations"]["tested"] == report["operations"]["total"] > 15, report["operations"]
    summary = {"requests": cases["generated"], "wrong": 0, "seed": report["seed"], "seconds": round(report["running_time"])}
    sys.stdout.write(json.dumps(summary) + "\n")


@pytest.mark.slow
async def test_every_response_is_one_that_the_openapi_document_describes(
    start_service: StartService, secret: str, tmp_path: Path
) -> None:
    service = await start_service(log_level="ERROR")
    await schemathesis(service, secret, tmp_path, "--max-examples", "4", "--no-shrink", "--generation-deterministic")
    metrics = (await service.internal("/metrics")).text
    # It passes authentication: each of these was served as well.
    for method, route, status in (
        ("POST", "/token", 200), ("POST", "/revoke", 200), ("POST", "/introspect", 200), ("GET", "/account/v1/sessions", 200),
        ("DELETE", "/account/v1/sessions/{session_id}", 204), ("DELETE", "/admin/v1/accounts/{account_id}/sessions", 204),
        ("PUT", "/account/v1/password", 403),
    ):  # fmt: skip
        assert f'authmint_http_requests_total{{method="{method}",route="{route}",status="{status}"}}' in metrics, (
            method,
            route,
        )


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 300)
async def test_so_is_every_response_in_ten_minutes_or_as_long_as_the_environment_says(
    start_service: StartService, secret: str, tmp_path: Path
) -> None:
    service = await start_service(log_level="ERROR")
    await schemathesis(service, secret, tmp_path, "--max-time", str(SECONDS))
