"""Limits on bytes, header fields and seconds of a request, at every route of a running service, before any code reads it."""

import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from authmint_service.app import create_app
from tests.e2e.conftest import Running, environment, fetch, free_ports, running
from tests.service.conftest import make_settings
from tests.service.routes import Endpoint, endpoints_of

pytestmark = [pytest.mark.process, pytest.mark.timeout(180), pytest.mark.xdist_group("bounds")]

ENDPOINTS = [
    *endpoints_of(create_app(make_settings("postgresql://127.0.0.1/never"))),
    Endpoint("GET", "/nothing"),
    Endpoint("PATCH", "/token"),
]
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
JSON = b"Content-Type: application/json\r\n"


def served(folder: Path, port: int) -> Iterator[Running]:
    env = environment(AUTHMINT_ENVIRONMENT="development", AUTHMINT_DATA_DIR=str(folder / "data"), AUTHMINT_PORT=str(port))
    command = str(Path(sys.executable).with_name("authmint-service"))
    with running(command, "serve", cwd=folder, env=env, output=folder / "said") as process:
        process.wait_for(f"http://127.0.0.1:{port}/readyz")
        yield process
        assert 200 == fetch(f"http://127.0.0.1:{port}/readyz")[0]
        assert "error.unexpected" not in process.said
        assert "Traceback" not in process.said


@pytest.fixture(scope="module")
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Running]:
    yield from served(tmp_path_factory.mktemp("bounds"), port)


def head(endpoint: Endpoint, *lines: bytes) -> bytes:
    return b"%s %s HTTP/1.1\r\nHost: x\r\n" % (endpoint.method.encode(), endpoint.filled().encode()) + b"".join(lines) + b"\r\n"


def exchange(port: int, request: bytes) -> bytes:
    """Send a request. Return the head of the response; empty when the server only closes the connection."""
    response = b""
    with connected(port) as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
        with suppress(ConnectionError):
            while b"\r\n\r\n" not in response and (chunk := connection.recv(65536)):
                response += chunk
    return response


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def status(response: bytes) -> int:
    assert response.startswith(b"HTTP/1.1 "), response[:100]
    return int(response[9:12])


TOO_MUCH: dict[str, tuple[int, Callable[[Endpoint], bytes]]] = {
    "64 KB in one header field": (431, lambda endpoint: head(endpoint, b"X: " + b"a" * 65_536 + b"\r\n")),
    "a megabyte in one header field": (431, lambda endpoint: head(endpoint, b"X: " + b"a" * 1_000_000 + b"\r\n")),
    "a megabyte in the name of one": (431, lambda endpoint: head(endpoint, b"X" * 1_000_000 + b": a\r\n")),
    "a header without end": (431, lambda endpoint: head(endpoint, b"X: " + b"a" * 100_000)[:-2]),
    "10,000 header fields": (431, lambda endpoint: head(endpoint, *(b"X-%d: y\r\n" % number for number in range(10_000)))),
    "101 header fields": (431, lambda endpoint: head(endpoint, *(b"X-%d: y\r\n" % number for number in range(100)))),
    "a query of a megabyte": (431, lambda endpoint: head(endpoint).replace(b" HTTP", b"?" + b"a" * 1_000_000 + b" HTTP", 1)),
    "10 MB announced": (413, lambda endpoint: head(endpoint, FORM, b"Content-Length: 10000000\r\n")),
    "10 MB announced and sent": (
        413,
        lambda endpoint: head(endpoint, FORM, b"Content-Length: 10000000\r\n") + b"a" * 10_000_000,
    ),
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_a_request_above_a_limit_is_refused_at_every_route(server: Running, port: int, kind: str) -> None:
    expected, make = TOO_MUCH[kind]
    for endpoint in ENDPOINTS:
        response = exchange(port, make(endpoint))
        assert expected == status(response), str(endpoint)
        assert b"connection: close" in response
        assert b"nosniff" in response


def test_a_body_in_chunks_without_end_is_cut_off_at_every_route(server: Running, port: int) -> None:
    for endpoint in ENDPOINTS:
        body = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
        with pytest.raises(ConnectionError):
            send(port, head(endpoint, FORM, b"Transfer-Encoding: chunked\r\n"), *[body] * 500)


def send(port: int, *parts: bytes) -> None:
    with connected(port) as connection:
        for part in parts:
            connection.sendall(part)


def test_a_megabyte_ten_thousand_fields_and_a_depth_of_a_hundred_thousand_change_no_response(
    server: Running, port: int
) -> None:
    forms = {"POST /token", "POST /revoke", "POST /introspect"}
    for endpoint in ENDPOINTS:
        plain = status(exchange(port, head(endpoint, b"Content-Length: 0\r\n")))
        for type_, body in (
            (FORM, b"a" * 1_000_000),
            (FORM, b"f=1&" * 10_000),
            (JSON, b"[" * 100_000),
            (JSON, b'{"a":' * 100_000),
        ):
            got = status(exchange(port, head(endpoint, type_, b"Content-Length: %d\r\n" % len(body)) + body))
            # A route with a form reads it before anything else; the others never read a body.
            assert got == (400 if str(endpoint) in forms else plain), str(endpoint)


def test_a_head_of_the_documented_size_is_served(server: Running, port: int) -> None:
    for lines in ([b"X: " + b"a" * 32_000 + b"\r\n"], [b"X-%d: y\r\n" % number for number in range(99)]):
        assert 200 == status(exchange(port, head(Endpoint("GET", "/livez"), *lines)))


def test_bodies_that_no_route_reads_are_not_kept_in_memory(server: Running, port: int) -> None:
    before = memory(server)
    with ExitStack() as stack:
        for _ in range(60):
            connection = stack.enter_context(connected(port))
            connection.sendall(head(Endpoint("GET", "/livez"), b"Content-Length: 1900000\r\n") + b"a" * 1_800_000)
        # 108 MB were sent.
        assert memory(server) - before < 30_000_000


def test_clients_that_do_not_read_hold_neither_copies_nor_buffers_of_the_kernel(server: Running, port: int) -> None:
    """Memory that any client holds for nothing: 100 sockets on the bundle of the documentation page held 160 MiB."""
    bundle = Endpoint("GET", "/docs/swagger-ui-bundle.js")
    before = memory(server)
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(port)) for _ in range(100)]
        for connection in connections:
            connection.sendall(head(bundle))
        for connection in connections:
            assert b"HTTP/1.1 200 OK" == connection.recv(15, socket.MSG_PEEK | socket.MSG_WAITALL)
        assert memory(server) - before < 20_000_000
        assert unsent(port) < 40_000_000
        # All that waits arrives, and is the file.
        first = rest_of_body(connections[0])
        assert first == rest_of_body(connections[99])
        assert len(first) > 1_000_000


def unsent(port: int) -> int:
    """Return how many bytes the kernel keeps of what was written to connections of a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[0], 16) for row in rows if int(row[1].partition(":")[2], 16) == port)


def rest_of_body(connection: socket.socket) -> bytes:
    """Return the body of a response with a Content-Length."""
    head_of_it, _, body = connection.recv(1_000_000).partition(b"\r\n\r\n")
    length = next(int(line.partition(b":")[2]) for line in head_of_it.split(b"\r\n") if line.startswith(b"content-length"))
    while len(body) < length and (piece := connection.recv(1_000_000)):
        body += piece
    return body


EXPENSIVE = {
    "1.9 MB of trailers": b"3\r\na=b\r\n0\r\n" + b"a: b\r\n" * 316_000 + b"\r\n",
    "330,000 chunks": b"1\r\na\r\n" * 330_000 + b"0\r\n\r\n",
}


@pytest.mark.parametrize("kind", EXPENSIVE)
def test_a_body_of_mostly_overhead_costs_little_at_every_route(server: Running, port: int, kind: str) -> None:
    """Work in proportion to what any client sends, before anything is checked: these took 113 and 217 ms."""
    costs = []
    for endpoint in ENDPOINTS:
        before = cpu_milliseconds(server)
        exchange(port, head(endpoint, FORM, b"Transfer-Encoding: chunked\r\n") + EXPENSIVE[kind])
        costs.append(cpu_milliseconds(server) - before)
    # Not the largest: the process may have had something else to do.
    assert statistics.median(costs) < 30


def cpu_milliseconds(process: Running) -> float:
    """Return the CPU time of the first thread, which has the event loop."""
    return int(Path(f"/proc/{process.process.pid}/schedstat").read_text().split()[0]) / 1_000_000


def memory(process: Running) -> int:
    """Return the resident memory in bytes."""
    return int(Path(f"/proc/{process.process.pid}/statm").read_text().split()[1]) * 4096


def test_a_wrong_content_length_affects_its_own_connection_alone(server: Running, port: int) -> None:
    token = Endpoint("POST", "/token")
    more_than_declared = head(token, FORM, b"Content-Length: 3\r\n") + b"a=bcdefg"
    # The bytes after the body are no request, so there is no response that could be taken for that of another request.
    assert b"" == exchange(port, more_than_declared)
    less_than_declared = head(token, FORM, b"Content-Length: 100\r\n") + b"a=b"
    with connected(port) as connection:
        connection.sendall(less_than_declared)
        connection.shutdown(socket.SHUT_WR)
        assert b"" == connection.recv(100)


def test_a_slow_client_is_cut_off_after_ten_seconds_and_a_steady_one_is_not(server: Running, port: int) -> None:
    token, livez = Endpoint("POST", "/token"), Endpoint("GET", "/livez")
    slow = {
        "sends nothing": b"",
        "a head": head(livez, b"X: y\r\n")[:-2],
        "a body": head(token, FORM, b"Content-Length: 1000\r\n"),
        "chunks": head(token, FORM, b"Transfer-Encoding: chunked\r\n"),
        "a body that no route reads": head(livez, b"Content-Length: 1000\r\n"),
        "blank lines": head(livez),
    }
    drips = {
        "a head": b"X: y\r\n",
        "a body": b"a",
        "chunks": b"1\r\na\r\n",
        "a body that no route reads": b"a",
        "blank lines": b"\r\n",
    }
    with ExitStack() as stack:
        connections = {name: stack.enter_context(connected(port)) for name in slow}
        steady = stack.enter_context(connected(port))
        received = keep_dripping(connections, slow, drips, steady)
    assert {"a head", "a body", "chunks"} == {name for name, text in received.items() if b"HTTP/1.1 408" in text}
    assert b"" == received["sends nothing"]
    for name in ("a body that no route reads", "blank lines"):
        assert 200 == status(received[name])


def keep_dripping(
    connections: Mapping[str, socket.socket], first: Mapping[str, bytes], then: Mapping[str, bytes], steady: socket.socket
) -> dict[str, bytes]:
    """Return all that each received, after twelve seconds; `steady` sends a request each half a second meanwhile."""
    for name, connection in connections.items():
        connection.sendall(first[name])
    for _ in range(24):
        time.sleep(0.5)
        for name, connection in connections.items():
            with suppress(ConnectionError):
                connection.sendall(then.get(name, b""))
        steady.sendall(head(Endpoint("GET", "/livez")))
    steady.sendall(head(Endpoint("GET", "/livez"), b"Connection: close\r\n"))
    assert 25 == rest_of(steady).count(b"HTTP/1.1 200 OK")
    return {name: rest_of(connection) for name, connection in connections.items()}


def rest_of(connection: socket.socket) -> bytes:
    """Return all that was received on a connection, until the server has closed it."""
    received = b""
    with connection, suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def test_pipelined_requests_are_served_in_order(server: Running, port: int) -> None:
    with connected(port) as connection:
        connection.sendall(head(Endpoint("GET", "/livez")) * 30 + head(Endpoint("GET", "/livez"), b"Connection: close\r\n"))
        assert 31 == rest_of(connection).count(b"HTTP/1.1 200 OK")
