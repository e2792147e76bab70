"""Requests that no client library sends, to a running service: never a 5xx, and it keeps serving."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import environment, fetch, free_ports, running

pytestmark = [pytest.mark.process, pytest.mark.timeout(180), pytest.mark.xdist_group("raw requests")]

POST = b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
REQUESTS = {
    "a foreign address as target": b"GET http://evil.example/token HTTP/1.1\r\nHost: x\r\n\r\n",
    "an @ as target": b"GET @evil.example HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /readyz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a host with a path": b"GET /account/v1 HTTP/1.1\r\nHost: a/../token?\r\n\r\n",
    "a host that is no text": b"GET /account/v1 HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    "header bytes that are no text": b"GET /account/v1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    "a path that is no text": b"GET /\xff\xfe%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a line feed in a header": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\nb: c\r\n\r\n",
    "two content lengths": POST + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\na=bcd",
    "length and chunks": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a large body": POST + b"Content-Length: 10000000\r\n\r\n" + b"a" * 1_000_000,
    "a body of chunks without end": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"a" * 4096 + b"\r\n",
    "ten thousand headers": b"GET /livez HTTP/1.1\r\nHost: x\r\n"
    + b"".join(b"X-%d: y\r\n" % number for number in range(10_000))
    + b"\r\n",
    "a long header": b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "a long token": b"GET /account/v1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"a." * 20_000 + b"\r\n\r\n",
    "addresses from no trusted proxy": b"GET /account/v1 HTTP/1.1\r\nHost: x\r\nForwarded: for=203.0.113.7\r\n"
    b"X-Forwarded-For: 203.0.113.7\r\n\r\n",
    "forty thousand bytes of addresses": b"GET /account/v1 HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: "
    + b"203.0.113.7,\xff" * 3000
    + b"\r\n\r\n",
    "an unknown method": b"BREW /token HTTP/1.1\r\nHost: x\r\n\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an upgrade": b"GET /account/v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "a connect": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
}

EXPECTED = dict.fromkeys(("no host", "two hosts", "a host with a path", "a host that is no text"), 400)
"""The statuses that a standard requires: here RFC 9112, section 3.2."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("raw")
    (number,) = free_ports(1)
    env = environment(AUTHMINT_ENVIRONMENT="development", AUTHMINT_DATA_DIR=str(folder / "data"), AUTHMINT_PORT=str(number))
    command = str(Path(sys.executable).with_name("authmint-service"))
    with running(command, "serve", cwd=folder, env=env, output=folder / "said") as process:
        process.wait_for(f"http://127.0.0.1:{number}/readyz")
        yield number
        assert "error.unexpected" not in process.said
        assert "Traceback" not in process.said
        # No header of these requests was used, neither by us nor by uvicorn.
        assert "203.0.113.7" not in process.said


@pytest.mark.parametrize("name", REQUESTS)
def test_a_malformed_request_is_refused_and_the_service_keeps_serving(port: int, name: str) -> None:
    response = b""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        try:
            connection.sendall(REQUESTS[name])
            while chunk := connection.recv(65536):
                response += chunk
                if b"\r\n\r\n" in response:
                    break
        except OSError:
            # The server may close the connection, or wait for the rest; both are allowed.
            pass
    if response:
        status = int(response.split(b" ", 2)[1])
        assert status < 500, response[:200]
        assert status == EXPECTED.get(name, status), response[:200]
        assert b"evil.example" not in response
    assert 200 == fetch(f"http://127.0.0.1:{port}/readyz")[0]
