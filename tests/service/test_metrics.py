"""What `/metrics` and `/readyz` tell: of which requests, of which parts, and nothing that a client chose."""

import asyncio
import re
import time

import asyncpg
import pytest

from tests.service.conftest import PASSWORD, Service, StartService

pytestmark = [pytest.mark.anyio, pytest.mark.own_service]


async def metrics(service: Service) -> str:
    return (await service.http.get("/metrics")).text


def figure(text: str, series: str) -> float:
    """0 for what is not told, as for what has not happened."""
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
        assert count == figure(text, series), series
    assert canary not in text.lower()


async def test_tokens_are_counted_by_grant_refusals_by_reason_and_sessions_by_what_became_of_them(
    service: Service, secret: str
) -> None:
    user, client = await service.add_user(), await service.add_client()
    machine = await service.add_client(secret)
    first = (await service.sign_in(client, user)).json()
    second = (await service.refresh(client, first["refresh_token"])).json()
    third = (await service.refresh(client, second["refresh_token"])).json()
    # The one before the last but one: somebody else has a copy.
    assert 400 == (await service.refresh(client, first["refresh_token"])).status_code
    assert 400 == (await service.refresh(client, third["refresh_token"])).status_code
    await service.token(grant_type="client_credentials", client_id=machine.client_id, client_secret=secret)
    await service.token(grant_type="client_credentials", client_id=machine.client_id, client_secret="wrong")
    await service.http.get("/account/v1", headers={"Authorization": "Bearer nothing"})
    other = (await service.sign_in(client, user)).json()
    await service.http.post("/revoke", data={"token": other["refresh_token"], "client_id": client.client_id})
    text = await metrics(service)
    tokens = {
        grant: figure(text, f'authmint_tokens_issued_total{{grant="{grant}"}}') for grant in ("password", "refresh_token")
    }
    assert {"password": 2, "refresh_token": 2} == tokens
    assert 1 == figure(text, 'authmint_tokens_issued_total{grant="client_credentials"}')
    reasons = {"invalid_grant": 2, "invalid_client": 1, "invalid_token": 1, "invalid_scope": 0}
    assert reasons == {reason: figure(text, f'authmint_oauth_errors_total{{reason="{reason}"}}') for reason in reasons}
    events = {"started": 2, "refreshed": 2, "ended": 1, "reused": 1}
    assert events == {event: figure(text, f'authmint_session_events_total{{event="{event}"}}') for event in events}


async def test_the_pools_tell_how_full_they_are_and_who_waited(start_service: StartService) -> None:
    service = await start_service(database_pool_size=1, password_hash_workers=1, password_hash_queue=0)
    user, client = await service.add_user(), await service.add_client()
    answers = await asyncio.gather(*(service.sign_in(client, user) for _ in range(4)))
    assert {200, 503} == {answer.status_code for answer in answers}
    text = await metrics(service)
    refused = sum(answer.status_code == 503 for answer in answers)
    assert refused == figure(text, "authmint_password_hashes_refused_total")
    assert refused == figure(text, 'authmint_oauth_errors_total{reason="temporarily_unavailable"}')
    assert (1, 0, 0) == tuple(
        figure(text, name)
        for name in ("authmint_password_hash_slots", "authmint_password_hashes_running", "authmint_password_hashes_queued")
    )
    assert 1 == figure(text, "authmint_database_connections_max")
    assert 1 == figure(text, "authmint_database_connections_open")
    assert figure(text, "authmint_database_connection_waits_total") >= 1
    assert 0 == figure(text, "authmint_database_connection_timeouts_total")


async def test_a_loop_that_was_held_up_is_seen_and_so_is_who_serves(service: Service) -> None:
    await asyncio.sleep(0.15)
    time.sleep(0.4)
    await asyncio.sleep(0.2)
    text = await metrics(service)
    count = figure(text, "authmint_event_loop_lag_seconds_count")
    assert count >= 1
    assert count > figure(text, 'authmint_event_loop_lag_seconds_bucket{le="0.25"}')
    assert figure(text, "authmint_event_loop_lag_seconds_sum") > 0.25
    assert 1 == figure(text, "authmint_workers_ready")


async def test_the_rows_of_sessions_are_estimated_without_being_counted(service: Service, dsn: str) -> None:
    user, client = await service.add_user(), await service.add_client()
    await service.sign_in(client, user)
    connection = await asyncpg.connect(dsn)
    await connection.execute("ANALYZE sessions")
    rows = await connection.fetchval("SELECT count(*) FROM sessions")
    await connection.close()
    assert rows == figure(await metrics(service), "authmint_session_rows_estimate") > 0


async def test_without_a_database_the_figures_are_there_all_the_same(start_service: StartService) -> None:
    service = await start_service(at="postgresql://nobody@127.0.0.1:1/none")
    text = await metrics(service)
    assert "authmint_http_requests" in text
    assert "authmint_session_rows_estimate" not in text


async def test_readiness_tells_each_part_with_a_word_and_what_to_do(start_service: StartService) -> None:
    service = await start_service()
    ready = await service.http.get("/readyz")
    assert 200 == ready.status_code
    parts = {name: value["is"] for name, value in ready.json().items() if isinstance(value, dict)}
    assert {"process": "ok", "pool": "ok", "schema": "ok", "keys": "ok", "clock": "ok"} == parts
    assert ready.json()["schema"]["version"].isdecimal()
    away = await start_service(at="postgresql://nobody:canary@127.0.0.1:1/none")
    answer = await away.http.get("/readyz")
    assert 503 == answer.status_code
    said = answer.json()
    assert ("unreachable", "unknown", "missing") == (said["pool"]["is"], said["schema"]["is"], said["keys"]["is"])
    assert "AUTHMINT_DATABASE_URL" in said["pool"]["advice"] == said["reason"]
    assert "canary" not in answer.text
    assert {"status": "live"} == (await away.http.get("/livez")).json()


async def test_a_pool_whose_connections_are_all_in_use_is_told_from_a_database_that_is_away(
    start_service: StartService, dsn: str
) -> None:
    service = await start_service(database_pool_size=1)
    user, client = await service.add_user(), await service.add_client()
    connection = await asyncpg.connect(dsn)
    # The sign-in waits for this row, and with it the only connection does.
    async with connection.transaction():
        await connection.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", user.id)
        waiting = asyncio.create_task(service.sign_in(client, user, PASSWORD))
        async with asyncio.timeout(10):
            while (answer := await service.http.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.02)
        text = await metrics(service)
    await connection.close()
    assert 200 == (await waiting).status_code
    assert ("full", True) == (answer.json()["pool"]["is"], "AUTHMINT_DATABASE_POOL_SIZE" in answer.json()["reason"])
    assert figure(text, "authmint_database_connection_timeouts_total") >= 1
    assert 200 == (await service.http.get("/readyz")).status_code
