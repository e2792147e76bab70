"""What a request may cost: bytes, header fields and seconds, at every route of a running service, before anyone reads it."""

import socket
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

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]

DOORS = [
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


def head(door: Endpoint, *lines: bytes) -> bytes:
    return b"%s %s HTTP/1.1\r\nHost: x\r\n" % (door.method.encode(), door.filled().encode()) + b"".join(lines) + b"\r\n"


def said_to(port: int, request: bytes) -> bytes:
    """What comes back until the other side hangs up or has answered. Empty when it only hangs up."""
    answer = b""
    with connected(port) as connection:
        with suppress(ConnectionError):
            connection.sendall(request)
        with suppress(ConnectionError):
            while b"\r\n\r\n" not in answer and (chunk := connection.recv(65536)):
                answer += chunk
    return answer


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12])


TOO_MUCH: dict[str, tuple[int, Callable[[Endpoint], bytes]]] = {
    "64 KB in one header field": (431, lambda door: head(door, b"X: " + b"a" * 65_536 + b"\r\n")),
    "a megabyte in one header field": (431, lambda door: head(door, b"X: " + b"a" * 1_000_000 + b"\r\n")),
    "a megabyte in the name of one": (431, lambda door: head(door, b"X" * 1_000_000 + b": a\r\n")),
    "a header without end": (431, lambda door: head(door, b"X: " + b"a" * 100_000)[:-2]),
    "10,000 header fields": (431, lambda door: head(door, *(b"X-%d: y\r\n" % number for number in range(10_000)))),
    "101 header fields": (431, lambda door: head(door, *(b"X-%d: y\r\n" % number for number in range(100)))),
    "a query of a megabyte": (431, lambda door: head(door).replace(b" HTTP", b"?" + b"a" * 1_000_000 + b" HTTP", 1)),
    "10 MB announced": (413, lambda door: head(door, FORM, b"Content-Length: 10000000\r\n")),
    "10 MB announced and sent": (413, lambda door: head(door, FORM, b"Content-Length: 10000000\r\n") + b"a" * 10_000_000),
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_what_is_too_much_is_refused_at_every_route(server: Running, port: int, kind: str) -> None:
    expected, make = TOO_MUCH[kind]
    for door in DOORS:
        answer = said_to(port, make(door))
        assert expected == status(answer), str(door)
        assert b"connection: close" in answer
        assert b"nosniff" in answer


def test_a_body_in_chunks_without_end_is_cut_off_at_every_route(server: Running, port: int) -> None:
    for door in DOORS:
        body = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
        with pytest.raises(ConnectionError):
            send(port, head(door, FORM, b"Transfer-Encoding: chunked\r\n"), *[body] * 500)


def send(port: int, *parts: bytes) -> None:
    with connected(port) as connection:
        for part in parts:
            connection.sendall(part)


def test_a_megabyte_ten_thousand_fields_and_a_depth_of_a_hundred_thousand_change_no_answer(server: Running, port: int) -> None:
    forms = {"POST /token", "POST /revoke", "POST /introspect"}
    for door in DOORS:
        plain = status(said_to(port, head(door, b"Content-Length: 0\r\n")))
        for type_, body in (
            (FORM, b"a" * 1_000_000),
            (FORM, b"f=1&" * 10_000),
            (JSON, b"[" * 100_000),
            (JSON, b'{"a":' * 100_000),
        ):
            answer = status(said_to(port, head(door, type_, b"Content-Length: %d\r\n" % len(body)) + body))
            # Whoever reads a form looks at it before anything else; the others never look.
            assert answer == (400 if str(door) in forms else plain), str(door)


def test_the_largest_head_that_is_promised_is_served(server: Running, port: int) -> None:
    for lines in ([b"X: " + b"a" * 32_000 + b"\r\n"], [b"X-%d: y\r\n" % number for number in range(99)]):
        assert 200 == status(said_to(port, head(Endpoint("GET", "/livez"), *lines)))


def test_bodies_that_nobody_reads_are_not_kept(server: Running, port: int) -> None:
    before = memory(server)
    with ExitStack() as stack:
        for _ in range(60):
            connection = stack.enter_context(connected(port))
            connection.sendall(head(Endpoint("GET", "/livez"), b"Content-Length: 1900000\r\n") + b"a" * 1_800_000)
        # 108 MB are under way.
        assert memory(server) - before < 30_000_000


def memory(process: Running) -> int:
    """Bytes that are resident."""
    return int(Path(f"/proc/{process.process.pid}/statm").read_text().split()[1]) * 4096


def test_a_content_length_that_lies_costs_its_own_connection_alone(server: Running, port: int) -> None:
    token = Endpoint("POST", "/token")
    more_than_said = head(token, FORM, b"Content-Length: 3\r\n") + b"a=bcdefg"
    # What follows is no request, so nothing is said that could be taken for an answer to another one.
    assert b"" == said_to(port, more_than_said)
    less_than_said = head(token, FORM, b"Content-Length: 100\r\n") + b"a=b"
    with connected(port) as connection:
        connection.sendall(less_than_said)
        connection.shutdown(socket.SHUT_WR)
        assert b"" == connection.recv(100)


def test_whoever_is_slow_is_cut_off_after_ten_seconds_and_whoever_answers_in_between_is_not(server: Running, port: int) -> None:
    token, livez = Endpoint("POST", "/token"), Endpoint("GET", "/livez")
    slow = {
        "says nothing": b"",
        "a head": head(livez, b"X: y\r\n")[:-2],
        "a body": head(token, FORM, b"Content-Length: 1000\r\n"),
        "chunks": head(token, FORM, b"Transfer-Encoding: chunked\r\n"),
        "a body that nobody reads": head(livez, b"Content-Length: 1000\r\n"),
        "blank lines": head(livez),
    }
    drips = {
        "a head": b"X: y\r\n",
        "a body": b"a",
        "chunks": b"1\r\na\r\n",
        "a body that nobody reads": b"a",
        "blank lines": b"\r\n",
    }
    with ExitStack() as stack:
        connections = {name: stack.enter_context(connected(port)) for name in slow}
        patient = stack.enter_context(connected(port))
        answers = keep_dripping(connections, slow, drips, patient)
    assert {"a head", "a body", "chunks"} == {name for name, answer in answers.items() if b"HTTP/1.1 408" in answer}
    assert b"" == answers["says nothing"]
    for name in ("a body that nobody reads", "blank lines"):
        assert 200 == status(answers[name])


def keep_dripping(
    connections: Mapping[str, socket.socket], first: Mapping[str, bytes], then: Mapping[str, bytes], patient: socket.socket
) -> dict[str, bytes]:
    """What each was told in the end, after twelve seconds; `patient` sends a request each half a second meanwhile."""
    for name, connection in connections.items():
        connection.sendall(first[name])
    for _ in range(24):
        time.sleep(0.5)
        for name, connection in connections.items():
            with suppress(ConnectionError):
                connection.sendall(then.get(name, b""))
        patient.sendall(head(Endpoint("GET", "/livez")))
    patient.sendall(head(Endpoint("GET", "/livez"), b"Connection: close\r\n"))
    assert 25 == rest_of(patient).count(b"HTTP/1.1 200 OK")
    return {name: rest_of(connection) for name, connection in connections.items()}


def rest_of(connection: socket.socket) -> bytes:
    """All that was said on a connection, which the other side has ended."""
    answer = b""
    with connection, suppress(ConnectionError):
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_requests_that_come_together_are_answered_one_after_the_other(server: Running, port: int) -> None:
    with connected(port) as connection:
        connection.sendall(head(Endpoint("GET", "/livez")) * 30 + head(Endpoint("GET", "/livez"), b"Connection: close\r\n"))
        assert 31 == rest_of(connection).count(b"HTTP/1.1 200 OK")
