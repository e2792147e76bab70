"""What one connection may cost the service: trailers, chunks, pipelined requests, responses that are not read.

Kinds: work in proportion to what any client sends, before anything is checked; memory that any client holds for nothing; header
fields that no proxy has seen. Everything goes over a socket, through the server's own parser.
"""

import asyncio
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from authmint_service.serving import connection_limit, limited_http
from authmint_service.serving.connection_limit import RESERVED_FILES
from authmint_service.serving.limited_http import LimitedHTTPProtocol, limited_to
from tests.service.conftest import Service
from tests.service.devices import sign_in
from tests.service.loopback_server import listening

pytestmark = pytest.mark.anyio

LARGE = bytes(30_000_000)
"""More than the kernel keeps for a connection."""
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
GET_LARGE = GET.replace(b"/", b"/large", 1)
CLOSING = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@dataclass
class Seen:
    """An application that notes what it is asked."""

    headers: list[dict[bytes, bytes]] = field(default_factory=list)
    bodies: list[int] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.bodies.append(len(await request.body()))
        self.headers.append(dict(scope["headers"]))
        response: Response = Response(LARGE) if scope["path"] == "/large" else PlainTextResponse("ok")
        await response(scope, receive, send)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1024)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def exchange(address: str, request: bytes) -> bytes:
    """Send a request. Return all that is received until the server closes the connection."""
    async with connected(address) as (reader, writer):
        writer.write(request)
        return await rest_of(reader)


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    received = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(20):
            while piece := await reader.read(1_000_000):
                received += piece
    return received


TOO_MUCH = {
    "a megabyte of trailers": b"3\r\na=b\r\n0\r\n" + b"a: b\r\n" * 170_000 + b"\r\n",
    "trailers without a value": b"3\r\na=b\r\n0\r\n" + b"a:\r\n" * 250_000 + b"\r\n",
    "one long trailer": b"3\r\na=b\r\n0\r\na: " + b"b" * 1_000_000 + b"\r\n\r\n",
    "trailers without an end": b"0\r\n" + b"a: b\r\n" * 170_000,
    "chunks of one byte": b"1\r\na\r\n" * 330_000 + b"0\r\n\r\n",
    "a long extension of a chunk": b"3;" + b"a" * 1_000_000 + b"\r\na=b\r\n0\r\n\r\n",
    "an extension of each chunk": (b"100;" + b"a" * 512 + b"\r\n" + b"a" * 256 + b"\r\n") * 1000 + b"0\r\n\r\n",
    "a long size of a chunk": b"0" * 1_000_000 + b"3\r\na=b\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("kind", TOO_MUCH)
async def test_more_overhead_than_content_ends_the_request(kind: str) -> None:
    """330,000 chunks took 113 ms of the process, 1.9 MB of trailers 217 ms."""
    parsed: list[bytes] = []

    class Counting(LimitedHTTPProtocol):
        def on_header(self, name: bytes, value: bytes) -> None:
            parsed.append(name)
            super().on_header(name, value)

        def on_body(self, body: bytes) -> None:
            parsed.append(body)
            super().on_body(body)

    async with listening(seen := Seen(), Counting) as address:
        received = await exchange(address, CHUNKED + TOO_MUCH[kind])
    # The words after the number are those of the Python that runs this.
    assert received[:13] in {b"HTTP/1.1 413 ", b"HTTP/1.1 400 "}, received[:200]
    assert b"application/problem+json" in received
    # Each of these is a call of the parser. The shortest trailer has four bytes, and 48 KiB are read at most.
    assert len(parsed) < 13_000
    assert [] == seen.headers


@pytest.mark.parametrize(
    "body",
    [b"1\r\na\r\n" * 1000, (b"1000\r\n" + b"a" * 4096 + b"\r\n") * 400, b"4;name=value\r\nWiki\r\n" * 300],
    ids=["a thousand bytes", "1.6 MB in chunks of 4 KB", "extensions"],
)
@pytest.mark.parametrize("trailers", [b"", b"X-Checksum: abc\r\n" * 20], ids=["no trailers", "trailers"])
async def test_a_body_in_chunks_with_the_usual_overhead_is_read(body: bytes, trailers: bytes) -> None:
    async with listening(seen := Seen()) as address:
        received = await exchange(address, CHUNKED + body + b"0\r\n" + trailers + b"\r\n" + CLOSING)
    assert 2 == received.count(b"HTTP/1.1 200 OK")
    assert [0] != seen.bodies[:1]
    assert 0 == seen.bodies[1]


@pytest.mark.parametrize(
    "trailer",
    [
        b"Authorization: Bearer x",
        b"Host: evil.example",
        b"X-Forwarded-For: 203.0.113.7",
        b"Content-Type: text/x",
        b"Cookie: a=b",
    ],
)
async def test_a_trailer_field_never_becomes_a_header_field(trailer: bytes) -> None:
    """A proxy that judges header fields has not seen it."""
    name = trailer.partition(b":")[0].lower()
    async with listening(seen := Seen()) as address:
        received = await exchange(address, CHUNKED + b"3\r\na=b\r\n0\r\n" + trailer + b"\r\n\r\n" + CLOSING)
    assert 2 == received.count(b"HTTP/1.1 200 OK")
    assert [{b"host": b"x", b"transfer-encoding": b"chunked"}, {b"host": b"x", b"connection": b"close"}] == seen.headers
    assert name == b"host" or all(name not in headers for headers in seen.headers)


@pytest.mark.parametrize(
    "trailer", [b"Content-Length: 30", b"Transfer-Encoding: chunked", b"Connection: close", b"Upgrade: h2c"]
)
async def test_a_trailer_that_would_change_the_framing_hides_no_request(trailer: bytes) -> None:
    """The next request is served, or the connection ends: its bytes are never taken for a body, nor a body for a request."""
    hidden = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"%x\r\n" % len(hidden) + hidden + b"\r\n0\r\n"
    async with listening(seen := Seen()) as address:
        received = await exchange(address, CHUNKED + body + trailer + b"\r\n\r\n" + CLOSING)
    assert [len(hidden), 0][: len(seen.bodies)] == seen.bodies
    assert received.count(b"HTTP/1.1 200 OK") == len(seen.bodies)


async def test_an_access_token_in_a_trailer_is_none(service: Service) -> None:
    here = await sign_in(service)
    request = b"GET /account/v1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n%s\r\n0\r\n%s\r\n" + CLOSING
    token = b"Authorization: Bearer %s\r\n" % here.access.encode()
    async with listening(service.app) as address:
        in_header = await exchange(address, request % (token, b""))
        in_trailer = await exchange(address, request % (b"", token))
    assert in_header.startswith(b"HTTP/1.1 200")
    assert in_trailer.startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(("count", "is_served"), [(60, True), (5000, False)])
async def test_pipelined_requests_wait_in_a_bounded_number(count: int, *, is_served: bool) -> None:
    """Each that waits is parsed and kept: 5,000 in one packet took 175 ms of the process."""
    begun = 0

    class Counting(LimitedHTTPProtocol):
        def on_message_begin(self) -> None:
            nonlocal begun
            begun += 1
            super().on_message_begin()

    async with listening(seen := Seen(), Counting) as address:
        received = await exchange(address, GET * count + CLOSING)
    if is_served:
        assert count + 1 == received.count(b"HTTP/1.1 200 OK") == len(seen.bodies)
    else:
        assert begun <= limited_http.MAX_PIPELINED + 2
        assert len(seen.bodies) <= begun


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds pass quicker: a client has half of one to read 64 KiB."""
    monkeypatch.setattr(limited_http, "MAX_SECONDS", 0.25)
    monkeypatch.setattr(limited_http, "READ_SECONDS", 0.5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "requests",
    [GET_LARGE, GET_LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), GET_LARGE + GET * 3],
    ids=["kept alive", "to be closed", "more requests"],
)
async def test_a_client_that_does_not_read_its_response_is_cut_off(requests: bytes) -> None:
    """It stayed for ever. Also while the server is closing the connection: what is written keeps it open."""
    open_connections: list[LimitedHTTPProtocol] = []

    class Noted(LimitedHTTPProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base does
            super().connection_made(transport)
            open_connections.append(self)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            open_connections.remove(self)

    async with listening(Seen(), Noted) as address, connected(address) as (_, writer):
        writer.write(requests)
        await eventually(lambda: bool(open_connections) and open_connections[0].transport.get_write_buffer_size() > 0)
        await eventually(lambda: not open_connections)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_client_that_reads_slowly_and_steadily_gets_all_of_its_response() -> None:
    async with listening(Seen()) as address, connected(address) as (reader, writer):
        writer.write(GET_LARGE)
        received = 0
        # For two seconds, and then as it comes.
        for _ in range(40):
            received += len(await reader.read(100_000))
            await asyncio.sleep(0.05)
        while received < len(LARGE) and (piece := await reader.read(1_000_000)):
            received += len(piece)
    assert received > len(LARGE)


async def test_a_further_connection_is_refused_when_all_others_are_in_use() -> None:
    async with listening(Seen(), limited_to(3)) as address, connected(address) as one, connected(address) as two:
        async with connected(address) as three:
            for reader, writer in (one, two, three):
                writer.write(GET)
                assert b"HTTP/1.1 200 OK\r\n" == await reader.readline()
            refused = await exchange(address, b"")
            assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nretry-after: 2\r\n" in refused
            assert b'"code":"temporarily_unavailable"' in refused
        # One has ended. The server learns of it a little later, and then serves the next.
        async with asyncio.timeout(5):
            while not (await exchange(address, CLOSING)).startswith(b"HTTP/1.1 200 OK"):
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "a byte", "no whole head"])
async def test_connections_without_a_request_give_up_their_place(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limit, "SILENT_SECONDS", 0.1)
    async with listening(Seen(), limited_to(5)) as address, connected(address) as oldest:
        oldest[1].write(sent)
        await asyncio.sleep(0.15)
        async with connected(address), connected(address), connected(address), connected(address):
            for _ in range(2):
                # The second one finds four silent connections, none of them old enough, and the place of the first.
                assert (await exchange(address, CLOSING)).startswith(b"HTTP/1.1 200 OK")
            assert b"" == await rest_of(oldest[0])


async def test_a_connection_that_was_just_made_is_not_closed_for_another() -> None:
    """Many that come at one moment would otherwise close each other."""
    async with listening(Seen(), limited_to(2)) as address, connected(address) as one, connected(address) as two:
        assert (await exchange(address, b"")).startswith(b"HTTP/1.1 503")
        for reader, writer in (one, two):
            writer.write(CLOSING)
            assert (await rest_of(reader)).startswith(b"HTTP/1.1 200 OK")


def test_a_process_may_open_the_files_of_its_connections() -> None:
    """A connection is an open file. When there are no more, the database cannot be reached either."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2000:
        pytest.skip("this computer allows fewer open files")
    program = (
        "import resource, runpy, sys; fit = runpy.run_path(sys.argv[1])['fit_open_files']\n"
        "for soft, hard in ((700, 2000), (1800, 1900), (700, 900)):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))\n"
        "    print(fit(1000), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, connection_limit.__file__], capture_output=True, text=True, check=True, timeout=60
    )
    assert ["1000 1400", "1000 1800", "500 900"] == done.stdout.splitlines()
    assert 400 == RESERVED_FILES
