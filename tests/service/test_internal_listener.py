"""The internal listener: what is for the operator's network is not where clients are served."""

import asyncio

import pytest
from prometheus_client import Metric
from prometheus_client.registry import Collector

from authmint_service.endpoints.metrics import Estimate, MetricsEndpoint
from authmint_service.errors import DatabaseUnavailable
from tests.service.conftest import Service, StartService
from tests.service.routes import endpoints_of

pytestmark = pytest.mark.anyio


async def test_in_production_metrics_are_on_the_internal_listener_alone(service: Service) -> None:
    assert 404 == (await service.http.get("/metrics")).status_code
    answer = await service.internal("/metrics")
    assert 200 == answer.status_code
    assert "no-store" == answer.headers["cache-control"]
    assert "authmint_http_requests_total" in answer.text


async def test_the_internal_listener_has_metrics_and_probes_and_nothing_else(service: Service) -> None:
    assert {"/metrics", "/livez", "/readyz"} == {endpoint.path for endpoint in endpoints_of(service.app.state.internal)}
    for path, status in (("/livez", 200), ("/readyz", 200), ("/token", 404), ("/account/v1", 404), ("/openapi.json", 404)):
        answer = await service.internal(path)
        assert status == answer.status_code, path
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("environment", "port", "status"),
    [("development", None, 200), ("development", 9000, 404), ("production", None, 404), ("production", 9000, 404)],
)
async def test_in_development_metrics_are_public_unless_there_is_an_internal_listener(
    start_service: StartService, environment: str, port: int | None, status: int
) -> None:
    service = await start_service(environment=environment, internal_port=port)
    assert status == (await service.http.get("/metrics")).status_code


@pytest.mark.parametrize(
    ("environment", "port", "is_said"),
    [("production", None, True), ("production", 9000, False), ("development", None, False)],
)
async def test_a_start_in_production_without_an_internal_listener_says_that_metrics_are_nowhere(
    start_service: StartService, capfd: pytest.CaptureFixture[str], environment: str, port: int | None, is_said: bool
) -> None:
    await start_service(environment=environment, internal_port=port)
    assert is_said == ("AUTHMINT_INTERNAL_PORT" in capfd.readouterr().err)


class CountingCollector(Collector):
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def collect(self) -> list[Metric]:
        self.asked += 1
        return []


async def test_metrics_that_could_not_be_made_are_made_for_the_next_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authmint_service.endpoints.metrics.CACHE_SECONDS", 1.0)
    failures: list[Exception] = [ValueError()]

    def sample() -> None:
        if failures:
            raise failures.pop()

    async def estimate() -> float:
        return 7.0

    endpoint = MetricsEndpoint([], [Estimate("rows", "Rows", estimate)], sample=sample, clock=lambda: 100.0)
    with pytest.raises(ValueError, match=r"^$"):
        await endpoint.metrics()
    assert b"rows 7.0" in bytes((await endpoint.metrics()).body)


async def test_however_many_ask_the_metrics_are_made_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authmint_service.endpoints.metrics.CACHE_SECONDS", 1.0)
    now, asked = 100.0, 0
    collector = CountingCollector()

    async def estimate() -> float:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return 7.0

    async def unavailable() -> float:
        raise DatabaseUnavailable("gone")

    endpoint = MetricsEndpoint(
        [collector],
        [Estimate("rows", "Rows", estimate), Estimate("more", "More", unavailable)],
        sample=lambda: None,
        clock=lambda: now,
    )
    before = collector.asked
    answers = await asyncio.gather(*(endpoint.metrics() for _ in range(5)))
    assert (1, 1) == (asked, collector.asked - before)
    assert {b"rows 7.0"} == {line for answer in answers for line in bytes(answer.body).splitlines() if line[:1] != b"#"}
    now += 0.9
    await endpoint.metrics()
    assert 1 == asked
    now += 0.2
    await endpoint.metrics()
    assert (2, 2) == (asked, collector.asked - before)
