"""What `/metrics` and `/readyz` report: requests and parts, and nothing that a client chose."""

import asyncio
import re
import time

import asyncpg
import pytest

from tests.service.conftest import PASSWORD, Service, StartService

pytestmark = [pytest.mark.anyio, pytest.mark.own_service]


async def metrics(service: Service) -> str:
    return (await service.internal("/metrics")).text


def sample(text: str, series: str) -> float:
    """Return the value of a series; 0 for one that is not reported, as nothing was counted."""
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_requests_are_counted_by_route_method_and_status_and_nothing_that_a_client_chose_is_a_label(
    service: Service,
) -> None:
    canary = "canary"
    for _ in range(2):
        await service.http.get(f"/{canary}")
    await service.http.request(canary.upper(), "/livez")
    await service.http.delete(f"/account/v1/sessions/{canary}")
    await service.token(grant_type=canary, client_id=canary, client_secret=canary, username=canary, password=canary)
    text = await metrics(service)
    for series, count in {
        'authmint_http_requests_total{method="GET",route="none",status="404"}': 2,
        'authmint_http_requests_total{method="other",route="/livez",status="405"}': 1,
        'authmint_http_requests_total{method="DELETE",route="/account/v1/sessions/{session_id}",status="401"}': 1,
        'authmint_http_requests_total{method="POST",route="/token",status="401"}': 1,
        'authmint_http_request_duration_seconds_count{route="/token"}': 1,
        'authmint_http_request_duration_seconds_bucket{le="+Inf",route="/token"}': 1,
    }.items():
        assert count == sample(text, series), series
    assert canary not in text.lower()


async def test_tokens_are_counted_by_grant_type_errors_by_error_and_grant_type_and_sessions_by_event(
    service: Service, secret: str
) -> None:
    user, client = await service.add_account(), await service.add_client()
    robot = await service.add_client(secret)
    first = (await service.sign_in(client, user)).json()
    second = (await service.refresh(client, first["refresh_token"])).json()
    third = (await service.refresh(client, second["refresh_token"])).json()
    # Its successor was redeemed as well, so this is a reuse and no repeated request.
    assert 400 == (await service.refresh(client, first["refresh_token"])).status_code
    assert 400 == (await service.refresh(client, third["refresh_token"])).status_code
    await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=secret)
    await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret="wrong")
    await service.http.post("/introspect", data={"token": "x", "client_id": robot.client_id, "client_secret": "wrong"})
    await service.token(grant_type="another", client_id=robot.client_id, client_secret=secret)
    await service.http.get("/account/v1", headers={"Authorization": "Bearer nothing"})
    other = (await service.sign_in(client, user)).json()
    await service.http.post("/revoke", data={"token": other["refresh_token"], "client_id": client.client_id})
    text = await metrics(service)
    tokens = {"password": 2, "refresh_token": 2, "client_credentials": 1}
    assert tokens == {
        grant_type: sample(text, f'authmint_tokens_issued_total{{grant_type="{grant_type}"}}') for grant_type in tokens
    }
    errors = {
        ("invalid_grant", "refresh_token"): 2, ("invalid_client", "client_credentials"): 1, ("invalid_token", "none"): 1,
        ("invalid_scope", "password"): 0, ("invalid_client", "none"): 1, ("unsupported_grant_type", "none"): 1,
    }  # fmt: skip
    assert errors == {
        (error, grant_type): sample(text, f'authmint_oauth_errors_total{{error="{error}",grant_type="{grant_type}"}}')
        for error, grant_type in errors
    }
    assert sum(errors.values()) == sum(
        float(value) for value in re.findall(r"^authmint_oauth_errors_total\{.*\} (\S+)$", text, re.MULTILINE)
    )
    events = {"started": 2, "refreshed": 2, "revoked": 1, "reused": 1}
    assert events == {event: sample(text, f'authmint_session_events_total{{event="{event}"}}') for event in events}


async def test_the_pools_report_what_is_in_use_and_what_waited(start_service: StartService) -> None:
    service = await start_service(database_pool_size=1, password_hash_workers=1, password_hash_queue=0)
    user, client = await service.add_account(), await service.add_client()
    answers = await asyncio.gather(*(service.sign_in(client, user) for _ in range(4)))
    assert {200, 503} == {answer.status_code for answer in answers}
    text = await metrics(service)
    refused = sum(answer.status_code == 503 for answer in answers)
    assert refused == sample(text, "authmint_password_hashes_refused_total")
    assert refused == sample(text, 'authmint_oauth_errors_total{error="temporarily_unavailable",grant_type="password"}')
    assert (1, 0, 0) == tuple(
        sample(text, name)
        for name in ("authmint_password_hash_slots", "authmint_password_hashes_running", "authmint_password_hashes_queued")
    )
    assert 1 == sample(text, "authmint_database_connections_max")
    assert 1 == sample(text, "authmint_database_connections_open")
    assert sample(text, "authmint_database_connection_waits_total") >= 1
    assert 0 == sample(text, "authmint_database_connection_timeouts_total")


async def test_a_blocked_event_loop_is_measured_and_workers_that_serve_are_counted(service: Service) -> None:
    await asyncio.sleep(0.15)
    time.sleep(0.4)
    await asyncio.sleep(0.2)
    text = await metrics(service)
    count = sample(text, "authmint_event_loop_lag_seconds_count")
    assert count >= 1
    assert count > sample(text, 'authmint_event_loop_lag_seconds_bucket{le="0.25"}')
    assert sample(text, "authmint_event_loop_lag_seconds_sum") > 0.25
    assert 1 == sample(text, "authmint_workers_ready")


async def test_the_rows_of_sessions_are_estimated_without_being_counted(service: Service, dsn: str) -> None:
    user, client = await service.add_account(), await service.add_client()
    await service.sign_in(client, user)
    connection = await asyncpg.connect(dsn)
    await connection.execute("ANALYZE authmint.sessions")
    rows = await connection.fetchval("SELECT count(*) FROM authmint.sessions")
    await connection.close()
    assert rows == sample(await metrics(service), "authmint_session_rows_estimate") > 0


async def test_without_a_database_all_other_metrics_are_reported(start_service: StartService) -> None:
    service = await start_service(at="postgresql://nobody@127.0.0.1:1/none")
    text = await metrics(service)
    assert "authmint_http_requests" in text
    assert "authmint_session_rows_estimate" not in text


async def test_readiness_reports_each_part_with_a_status_and_a_message(start_service: StartService) -> None:
    service = await start_service()
    ready = await service.http.get("/readyz")
    assert 200 == ready.status_code
    assert "ready" == ready.json()["status"]
    checks = ready.json()["checks"]
    parts = ("process", "database", "schema", "signing_keys", "secret_keys", "sessions", "changes", "revocation_list", "clock")
    assert dict.fromkeys(parts, "ok") == {name: check["status"] for name, check in checks.items()}
    assert checks["schema"]["version"].isdecimal()
    cut_off = await start_service(at="postgresql://nobody:canary@127.0.0.1:1/none")
    response = await cut_off.http.get("/readyz")
    assert (503, "not_ready") == (response.status_code, response.json()["status"])
    checks = response.json()["checks"]
    not_ok = {
        "process": "ok",
        "database": "unreachable",
        "schema": "unknown",
        "signing_keys": "missing",
        "secret_keys": "unknown",
        "sessions": "ok",
        "revocation_list": "ok",
        "changes": "ok",
        "clock": "ok",
    }
    assert not_ok == {name: check["status"] for name, check in checks.items()}
    assert "AUTHMINT_DATABASE_URL" in checks["database"]["message"]
    assert "canary" not in response.text
    assert {"status": "live"} == (await cut_off.http.get("/livez")).json()


async def test_an_exhausted_pool_is_distinguished_from_an_unreachable_database(start_service: StartService, dsn: str) -> None:
    service = await start_service(database_pool_size=1)
    user, client = await service.add_account(), await service.add_client()
    connection = await asyncpg.connect(dsn)
    # The sign-in waits for this row, and with it the only connection does.
    async with connection.transaction():
        await connection.execute("SELECT FROM authmint.accounts WHERE id = $1 FOR UPDATE", user.id)
        waiting = asyncio.create_task(service.sign_in(client, user, PASSWORD))
        async with asyncio.timeout(10):
            while (response := await service.http.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.02)
        text = await metrics(service)
    await connection.close()
    assert 200 == (await waiting).status_code
    database = response.json()["checks"]["database"]
    assert ("exhausted", True) == (database["status"], "AUTHMINT_DATABASE_POOL_SIZE" in database["message"])
    assert sample(text, "authmint_database_connection_timeouts_total") >= 1
    assert 200 == (await service.http.get("/readyz")).status_code
