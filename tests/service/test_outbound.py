"""Requests that go out (S35): to https URLs, at judged addresses, within bounds; and breached passwords."""

import asyncio
import datetime as dt
import hashlib
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from authmint_service.errors import InvalidValue
from authmint_service.outbound import Outbound, OutboundError, client, is_public
from authmint_service.passwords import PasswordPolicy
from authmint_service.passwords.breaches import BreachList, BreachOutcome

pytestmark = pytest.mark.anyio

NAME, GOOD = "receiver.test", "seven green parrots in a boat"
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "5f00::1",
]
OTHER_FORMS = ["0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "127.1", "127.0.0.01", "017700000001", "127.0.0.1."]

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the TLS of a server whose certificate is for `name`, and the trust of a client in it."""
    key, today = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private authority")])
    builder = x509.CertificateBuilder(issuer, issuer, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(today - dt.timedelta(days=1)).not_valid_after(today + dt.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    built = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(built.public_bytes(pem))
    layout = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *layout))
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(folder / "authority.pem", folder / "key.pem")
    return served, ssl.create_default_context(cafile=str(folder / "authority.pem"))


@asynccontextmanager
async def receiver(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, *, name: str = NAME
) -> AsyncIterator[tuple[Outbound, str, list[str]]]:
    """A real HTTPS server on loopback. Return who may send to it, its URL, and the heads of the requests it gets."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        await answer(reader, writer)
        writer.close()

    served, trusted = certificate(folder, name)
    monkeypatch.setattr(client, "_trust", lambda: trusted)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=served)
    port = server.sockets[0].getsockname()[1]
    outbound = Outbound([f"{NAME}:{port}"], resolve=resolves_to("127.0.0.1"))
    try:
        yield outbound, f"https://{NAME}:{port}", heads
    finally:
        outbound.close()
        server.close()


def resolves_to(*answers: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return answers

    return resolve


def says(status: str, body: bytes = b"", *headers: str) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)

    return answer


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def send(outbound: Outbound, url: str, seconds: float = 10.0) -> int:
    return (await outbound.request("GET", url, seconds=seconds, max_bytes=1000)).status


@pytest.mark.parametrize("address", PRIVATE)
async def test_an_address_that_is_not_public_is_refused_in_every_form(address: str) -> None:
    outbound = Outbound(resolve=resolves_to(address))
    assert not is_public(ipaddress.ip_address(address))
    literal = f"[{address}]" if ":" in address else address
    for url in ("https://name.example/", f"https://{literal}/"):
        with pytest.raises(OutboundError, match=r"not public|does not have"):
            await send(outbound, url)
    with pytest.raises(OutboundError, match="not public"):
        await send(Outbound(resolve=resolves_to("1.1.1.1", address)), "https://name.example/")


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", OTHER_FORMS)
async def test_an_address_in_another_form_is_no_host(host: str) -> None:
    with pytest.raises(OutboundError, match="ambiguous form"):
        await send(Outbound(resolve=resolves_to("1.1.1.1")), f"https://{host}/")


@pytest.mark.parametrize(
    "url", ["http://a.example/", "ftp://a.example/", "https://u@a.example/", "https:///x", "https://a\\@b/", "https://a:99999/"]
)
async def test_a_url_that_is_not_https_with_a_host_is_refused(url: str) -> None:
    with pytest.raises(OutboundError):
        await send(Outbound(resolve=resolves_to("1.1.1.1")), url)


async def test_a_request_goes_to_the_address_that_was_judged_with_the_name_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding: the name is resolved once. Variables of proxies have no effect."""
    asked: list[str] = []

    async def rebinds(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with receiver(tmp_path, monkeypatch, says("200 OK", b"yes")) as (outbound, url, heads):
        outbound = Outbound([url.removeprefix("https://")], resolve=rebinds)
        response = await outbound.request("GET", f"{url}/path?x=1", seconds=10, max_bytes=1000)
    assert (200, b"yes", [NAME]) == (response.status, response.content, asked)
    assert heads[0].startswith("GET /path?x=1 HTTP/1.1\r\n")
    assert f"host: {url.removeprefix('https://')}\r\n" in heads[0].lower()


async def test_a_private_receiver_is_allowed_by_its_exact_host_and_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiver(tmp_path, monkeypatch, says("200 OK")) as (outbound, url, _):
        assert 200 == await send(outbound, url)
        port = url.rpartition(":")[2]
        for allowed in (f"{NAME}:1", f"other.test:{port}", NAME, f"127.0.0.1:{port}"):
            with pytest.raises(OutboundError, match="not public"):
                await send(Outbound([allowed], resolve=resolves_to("127.0.0.1")), url)


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(tmp_path, monkeypatch, says("200 OK"), name="other.test") as (outbound, url, heads):
        with pytest.raises(OutboundError, match=r"certificate|Hostname"):
            await send(outbound, url)
    assert heads == []


async def test_a_redirect_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(tmp_path, monkeypatch, says("302 Found", b"", "Location: /elsewhere")) as (outbound, url, heads):
        assert 302 == await send(outbound, url)
    assert 1 == len(heads)


@pytest.mark.parametrize(
    "answer",
    [says("200 OK", b"x" * 1001), says("200 OK", b"", f"X-Long: {'x' * 20_000}"), says("200 OK", b"", f"X: {'x' * 200_000}")],
)
async def test_a_response_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    async with receiver(tmp_path, monkeypatch, answer) as (outbound, url, _):
        with pytest.raises(OutboundError):
            await send(outbound, url)


async def test_a_receiver_that_hangs_gets_no_more_than_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(tmp_path, monkeypatch, hangs) as (outbound, url, _):
        with pytest.raises(OutboundError, match="in time"):
            await send(outbound, url, seconds=0.5)


def range_of(password: str, count: int = 3) -> tuple[str, bytes]:
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()
    return digest[:5], f"{'0' * 35}:0\r\n{digest[5:]}:{count}\r\n{'F' * 35}:1".encode()


async def test_a_breached_password_is_refused_and_the_list_gets_five_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix, body = range_of(GOOD)
    outcomes: list[BreachOutcome] = []
    async with receiver(tmp_path, monkeypatch, says("200 OK", body)) as (outbound, url, heads):
        policy = PasswordPolicy(min_length=15, breaches=BreachList(f"{url}/range/", outbound, outcomes.append))
        with pytest.raises(InvalidValue, match="stolen passwords") as refused:
            await policy.check(GOOD, username="anna")
        await policy.check("eight purple parrots in a boat", username="anna")
    assert "password_breached" == refused.value.code
    assert heads[0].startswith(f"GET /range/{prefix} HTTP/1.1\r\n")
    assert "add-padding: true\r\n" in heads[0].lower()
    assert [BreachOutcome.FOUND, BreachOutcome.NOT_FOUND] == outcomes


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (says("200 OK", range_of(GOOD, 0)[1]), BreachOutcome.NOT_FOUND),
        (says("503 Unavailable"), BreachOutcome.UNAVAILABLE),
        (says("302 Found", b"", "Location: /x"), BreachOutcome.UNAVAILABLE),
        (says("200 OK", b"<html>sign in</html>"), BreachOutcome.UNAVAILABLE), (hangs, BreachOutcome.UNAVAILABLE),
    ],
)  # fmt: skip
async def test_padding_and_a_list_that_is_away_refuse_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, outcome: BreachOutcome
) -> None:
    outcomes: list[BreachOutcome] = []
    async with receiver(tmp_path, monkeypatch, answer) as (outbound, url, _):
        assert not await BreachList(url, outbound, outcomes.append).has(GOOD)
    assert [outcome] == outcomes
