"""Traces as a collector receives them: they show what was done and what belongs together, and no values."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.conftest import ROOT, environment
from tests.service.conftest import PASSWORD, SECRET_KEYS, StartService

pytestmark = pytest.mark.anyio

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(HTTPServer):
    """Receives OTLP over HTTP on loopback, and stores it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Export)
        self.received: list[bytes] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for content in self.received
            for resource in ExportTraceServiceRequest.FromString(content).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Export(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert "/v1/traces" == self.path
        self.server.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def attributes(span: Span) -> dict[str, str]:
    return {one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes}


async def test_requests_statements_and_hashes_are_spans_of_the_callers_trace_without_values(
    start_service: StartService, collector: Collector, secret: str
) -> None:
    service = await start_service(otlp_endpoint=collector.endpoint)
    user, client = await service.add_account("canary-name"), await service.add_client()
    robot = await service.add_client(secret)
    service.http.headers["traceparent"] = f"00-{TRACE}-{PARENT}-01"
    tokens = (await service.sign_in(client, user)).json()
    service.http.headers.pop("traceparent")
    refreshed = (await service.refresh(client, tokens["refresh_token"])).json()
    await service.token(grant_type="client_credentials", client_id=robot.client_id, client_secret=secret)
    await service.sign_in(client, user, "canary-password")
    await service.http.get("/canary-path?canary-query", headers={"User-Agent": "canary-agent"})
    await service.http.get(
        "/account/v1/sessions/canary-session", headers={"Authorization": f"Bearer {refreshed['access_token']}"}
    )
    await service.http.get("/account/v1", headers={"Authorization": f"Bearer {refreshed['access_token']}"})
    # The rest of the spans is sent at the end.
    await service.stop()
    spans = {span.name: span for span in collector.spans}
    assert {"POST /token", "password.verify", "INSERT sessions", "UPDATE sessions", "GET /account/v1", "GET"} <= set(spans)
    own = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    (request,) = (span for span in own if span.kind == Span.SPAN_KIND_SERVER)
    assert PARENT == request.parent_span_id.hex()
    assert {"password.verify", "INSERT sessions"} <= {span.name for span in own if span.parent_span_id == request.span_id}
    known = attributes(request)
    assert ("POST", "/token", "200") == tuple(
        known[name] for name in ("http.request.method", "http.route", "http.response.status_code")
    )
    everything = b"".join(collector.received)
    assert b"authmint-service" in everything
    assert user.password_hash is not None
    for value in (
        "canary", PASSWORD, secret, user.id, user.password_hash, client.client_id, robot.client_id, tokens["refresh_token"],
        tokens["access_token"], refreshed["refresh_token"],
    ):  # fmt: skip
        assert value.encode() not in everything


async def test_the_log_has_the_trace_id_and_a_span_the_type_of_its_error(
    start_service: StartService, collector: Collector, capfd: pytest.CaptureFixture[str]
) -> None:
    service = await start_service(at="postgresql://nobody:canary@127.0.0.1:1/none", otlp_endpoint=collector.endpoint)
    await service.http.get("/readyz", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    await service.stop()
    assert f'"trace_id":"{TRACE}"' in capfd.readouterr().err.replace(": ", ":")
    own = {span.name: span for span in collector.spans if span.trace_id.hex() == TRACE}
    assert {"GET /readyz", "SELECT alembic_version"} == set(own)
    assert "DatabaseUnavailable" == attributes(own["SELECT alembic_version"])["error.type"]
    assert b"canary" not in b"".join(collector.received)


async def test_an_unavailable_collector_fails_no_request(start_service: StartService) -> None:
    service = await start_service(otlp_endpoint="http://127.0.0.1:1")
    user, client = await service.add_account(), await service.add_client()
    assert 200 == (await service.sign_in(client, user)).status_code
    await service.stop()


START = "import sys; from authmint_service.app import create_app; from authmint_service.settings import load_settings"
GIVEN = {"issuer": "https://a.example", "database_url": "postgresql://host/name", **SECRET_KEYS}
MADE = f"{START}; create_app(load_settings(_env_file=None, **{GIVEN!r}, **more))"
IMPORTED = (
    "[name for name in sys.modules "
    "if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter', 'authmint_service.tracing'))]"
)


@pytest.mark.slow
def test_opentelemetry_is_imported_only_if_configured_and_a_message_says_when_it_is_missing() -> None:
    for before, after in (
        ("more = {}", f"assert not {IMPORTED}"),
        ("more = {'otlp_endpoint': 'http://127.0.0.1:1'}", f"assert {IMPORTED}"),
    ):
        subprocess.run(
            [sys.executable, "-c", f"{before}; {MADE}; {after}"], cwd=ROOT, env=environment(), check=True, timeout=60
        )
    absent = f"{START}; sys.modules['opentelemetry.sdk'] = None; more = {{'otlp_endpoint': 'http://127.0.0.1:1'}}; {MADE}"
    done = subprocess.run(
        [sys.executable, "-c", absent], cwd=ROOT, env=environment(), check=False, timeout=60, capture_output=True, text=True
    )
    assert "install authmint-service[opentelemetry]" in done.stderr


async def test_the_telemetry_of_fastapi_is_off(start_service: StartService) -> None:
    assert not (await start_service()).app._native_telemetry.enabled()
