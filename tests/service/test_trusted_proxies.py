"""The address of a client behind proxies: a table of headers, and one request over HTTP."""

import json
import time
from collections.abc import Sequence

import httpx2
import pytest

from authmint_service.ip_addresses import address_prefix, network_bytes
from authmint_service.trusted_proxies import DIRECT, MAX_HOPS, TrustedProxies
from tests.service.conftest import ISSUER, Service, StartService

PROXIES = ("10.0.0.0/8", "2001:db8:1::/48", "192.0.2.200")
NEAREST = "10.0.0.1"
FORWARDED, X_FORWARDED_FOR = b"forwarded", b"x-forwarded-for"

# What `X-Forwarded-For` holds, and the address that it leads to when 10.0.0.1 sent it.
X_FORWARDED_FOR_LEADS_TO = {
    "203.0.113.7": "203.0.113.7",
    " 203.0.113.7\t": "203.0.113.7",
    "203.0.113.7:47011": "203.0.113.7",
    "2a00:1:2::3": "2a00:1:2::3",
    "[2A00:1:2::3]": "2a00:1:2::3",
    "[2a00:1:2::3]:47011": "2a00:1:2::3",
    "::ffff:203.0.113.7": "203.0.113.7",
    "[::ffff:203.0.113.7]:80": "203.0.113.7",
    # Further proxies of ours, and what the client itself wrote.
    "203.0.113.7, 10.0.0.9": "203.0.113.7",
    "203.0.113.7,10.0.0.9,2001:db8:1::5,192.0.2.200": "203.0.113.7",
    "198.51.100.1, 203.0.113.7": "203.0.113.7",
    "10.0.0.8, 203.0.113.7, 10.0.0.9": "203.0.113.7",
    # Every one is a proxy: the farthest has made the request.
    "10.0.0.7, 10.0.0.9": "10.0.0.7",
    "::ffff:10.0.0.7": "10.0.0.7",
    # What cannot be read counts as the proxy that wrote it.
    "": NEAREST,
    ",": NEAREST,
    "unknown": NEAREST,
    "203.0.113.7, unknown": NEAREST,
    "203.0.113.7, unknown, 10.0.0.9": "10.0.0.9",
    "203.0.113.7, , 10.0.0.9": "10.0.0.9",
    "_hidden, 10.0.0.9": "10.0.0.9",
    "fe80::1%eth0": NEAREST,
    "203.0.113.07": NEAREST,
    "203.0.113": NEAREST,
    "203.0.113.7.": NEAREST,
    "203.0.113.256": NEAREST,
    "[203.0.113.7]": NEAREST,
    "[2a00:1:2::3": NEAREST,
    "[2a00:1:2::3]x": NEAREST,
    '"203.0.113.7"': NEAREST,
    "203.0.113.7\0": NEAREST,
    "\u0661.2.3.4": NEAREST,
    "for=203.0.113.7": NEAREST,
}

FORWARDED_LEADS_TO = {
    "for=203.0.113.7": "203.0.113.7",
    'For="203.0.113.7:47011"': "203.0.113.7",
    'for="[2a00:1:2::3]:47011"': "2a00:1:2::3",
    'for="[2a00:1:2::3]"': "2a00:1:2::3",
    "for=[2a00:1:2::3]": "2a00:1:2::3",
    "proto=https;FOR=203.0.113.7;by=10.0.0.1": "203.0.113.7",
    "for=198.51.100.1, for=203.0.113.7 ; proto=https , for=10.0.0.9": "203.0.113.7",
    # An open quotation mark of the client hides nothing that a proxy added.
    'for="198.51.100.1, for=203.0.113.7': "203.0.113.7",
    'for="198.51.100.1;x=, for=203.0.113.7': "203.0.113.7",
    "": NEAREST,
    "203.0.113.7": NEAREST,
    "for=": NEAREST,
    'for="': NEAREST,
    'for=""': NEAREST,
    "for=unknown": NEAREST,
    "for=_hidden": NEAREST,
    "for=_SEVKISEK, for=10.0.0.9": "10.0.0.9",
    'for="_gazonk:80"': NEAREST,
    "by=203.0.113.7;proto=https": NEAREST,
    "for=203.0.113.7;for=198.51.100.1": NEAREST,
    'for="203.0.113.7': NEAREST,
    'for="203.0.113\\.7"': NEAREST,
    "xfor=203.0.113.7": NEAREST,
    # A comma inside of what a proxy quotes, as the client's Host: what is right of it is not the proxy's.
    'for=203.0.113.7;host="a,for=198.51.100.1;x="': NEAREST,
    'for=203.0.113.7;host="a,for=198.51.100.1;x=b";proto=https': NEAREST,
    'for=203.0.113.7;host="a\\",for=198.51.100.1;x=\\"";proto=https': NEAREST,
    'host="a,for=198.51.100.1;x=";for=203.0.113.7': NEAREST,
    'for=203.0.113.7;host="a:80";by="[2001:db8:1::5]"': "203.0.113.7",
}


def client_of(*headers: tuple[bytes, str], peer: str | None = NEAREST, proxies: Sequence[str] = PROXIES) -> str | None:
    return TrustedProxies(proxies).find_client(peer, [(name, value.encode()) for name, value in headers])


@pytest.mark.parametrize("value", X_FORWARDED_FOR_LEADS_TO)
def test_x_forwarded_for_leads_to_the_first_address_from_the_right_that_is_no_proxy(value: str) -> None:
    assert X_FORWARDED_FOR_LEADS_TO[value] == client_of((X_FORWARDED_FOR, value))


@pytest.mark.parametrize("value", FORWARDED_LEADS_TO)
def test_forwarded_leads_to_the_first_address_from_the_right_that_is_no_proxy(value: str) -> None:
    assert FORWARDED_LEADS_TO[value] == client_of((FORWARDED, value))


@pytest.mark.parametrize("peer", ["203.0.113.9", "2a00::9", "::ffff:203.0.113.9"])
@pytest.mark.parametrize("name", [FORWARDED, X_FORWARDED_FOR])
def test_headers_of_anyone_but_a_trusted_proxy_are_not_read(peer: str, name: bytes) -> None:
    assert peer.removeprefix("::ffff:") == client_of((name, "for=198.51.100.1, 198.51.100.1"), peer=peer)


@pytest.mark.parametrize("proxies", [(), (DIRECT,)])
def test_without_trusted_proxies_no_header_is_read(proxies: Sequence[str]) -> None:
    assert NEAREST == client_of((X_FORWARDED_FOR, "203.0.113.7"), (FORWARDED, "for=203.0.113.7"), proxies=proxies)


@pytest.mark.parametrize(("peer", "address"), [
    (None, None), ("", ""), ("testclient", "testclient"), ("::ffff:10.0.0.1", "203.0.113.7"), ("fe80::1%2", "fe80::1"),
])  # fmt: skip
def test_the_other_end_of_the_connection_may_have_any_form(peer: str | None, address: str | None) -> None:
    assert address == client_of((X_FORWARDED_FOR, "203.0.113.7"), peer=peer)


def test_a_header_in_several_lines_is_one_list() -> None:
    assert "203.0.113.7" == client_of((X_FORWARDED_FOR, "198.51.100.1"), (X_FORWARDED_FOR, "203.0.113.7, 10.0.0.9"))
    assert "203.0.113.7" == client_of((X_FORWARDED_FOR, "203.0.113.7"), (X_FORWARDED_FOR, "10.0.0.9"))


def test_both_headers_count_only_if_they_agree() -> None:
    agreeing, other = (FORWARDED, "for=203.0.113.7"), (FORWARDED, "for=198.51.100.1")
    of_the_proxy = (X_FORWARDED_FOR, "203.0.113.7")
    assert "203.0.113.7" == client_of(agreeing, of_the_proxy)
    # One of them is the client's own, and nobody can tell which.
    assert NEAREST == client_of(other, of_the_proxy) == client_of(of_the_proxy, (FORWARDED, "for=unknown"))


def test_an_ipv4_network_may_be_written_as_ipv6() -> None:
    assert "203.0.113.7" == client_of((X_FORWARDED_FOR, "203.0.113.7"), proxies=["::ffff:10.0.0.0/104"])


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96", "10.0.0.1/8", "a proxy", "", "10.0.0.0/33"])
def test_a_network_that_is_wrong_or_has_everybody_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        TrustedProxies([network])


@pytest.mark.parametrize("value", [
    "10.0.0.9," * 5000, "," * 48_000, "1" * 48_000, "[" * 48_000, 'for="' * 9000, "for=1;" * 8000,
    "203.0.113.7, " + "\xff" * 900, "for=203.0.113.7;x=" + "y" * 48_000,
])  # fmt: skip
@pytest.mark.parametrize("name", [FORWARDED, X_FORWARDED_FOR])
def test_a_huge_header_costs_little_and_leads_to_no_further_than_a_proxy(name: bytes, value: str) -> None:
    proxies, headers = TrustedProxies(PROXIES), [(name, value.encode())] * 90
    started = time.process_time()
    found = {proxies.find_client(NEAREST, headers) for _ in range(10)}
    assert found <= {NEAREST, "10.0.0.9"}
    assert time.process_time() - started < 0.1


def test_more_hops_than_anyone_has_are_not_followed() -> None:
    hops = ["10.0.0.9"] * MAX_HOPS
    assert "10.0.0.9" == client_of((X_FORWARDED_FOR, ", ".join(["203.0.113.7", *hops])))
    assert "203.0.113.7" == client_of((X_FORWARDED_FOR, ", ".join(["203.0.113.7", *hops[1:]])))


NETWORKS = [
    ("192.0.2.77", "192.0.2.0/24"), ("::ffff:192.0.2.77", "192.0.2.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48"),
    ("fe80::1%eth0", "fe80::/48"), ("", ""), (None, ""), ("a proxy", ""),
]  # fmt: skip


@pytest.mark.parametrize(("address", "prefix"), NETWORKS)
def test_an_address_counts_as_its_network(address: str | None, prefix: str) -> None:
    assert prefix == address_prefix(address)


def test_two_addresses_have_the_same_bytes_if_they_have_the_same_network() -> None:
    same = [("192.0.2.1", "::ffff:192.0.2.254"), ("2001:db8:1::1", "2001:db8:1:ffff::2"), ("", None)]
    different = [("192.0.2.1", "192.0.3.1"), ("2001:db8:1::1", "2001:db8:2::1"), ("192.0.2.1", None)]
    assert all(network_bytes(one) == network_bytes(other) for one, other in same)
    assert not any(network_bytes(one) == network_bytes(other) for one, other in different)


def through(service: Service, peer: str, forwarded_for: str) -> Service:
    """Return the same service, asked by `peer`, which sends `X-Forwarded-For`."""
    transport, headers = httpx2.ASGITransport(app=service.app, client=(peer, 1)), {"X-Forwarded-For": forwarded_for}
    http = httpx2.AsyncClient(transport=transport, base_url=ISSUER, headers=headers)
    return Service(service.app, http, service.database, service.clock, "")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [("10.1.2.3", "198.51.100.1, 203.0.113.7", "203.0.113.7"), ("192.0.2.9", "203.0.113.7", "192.0.2.9")],
)
async def test_log_events_and_sessions_have_the_address_of_the_client_behind_the_proxy(
    start_service: StartService, capsys: pytest.CaptureFixture[str], peer: str, forwarded_for: str, address: str
) -> None:
    service = await start_service(trusted_proxies="10.0.0.0/8")
    client, account = await service.add_client(), await service.add_account()
    asked = through(service, peer, forwarded_for)
    async with asked.http as http:
        assert 400 == (await asked.sign_in(client, account, "a wrong one")).status_code
        tokens = (await asked.sign_in(client, account)).json()
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        listed = (await http.get("/account/v1/sessions", headers=headers)).json()["items"]
    events = await service.database.fetch_all(
        "SELECT personal ->> 'ip_address' AS address FROM authmint.events WHERE client_id = $1 AND personal IS NOT NULL",
        client.client_id,
    )
    assert {address} == {session["ip_address"] for session in listed} == {event["address"] for event in events}
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {address} == {line["ip_address"] for line in lines if "request_id" in line}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "is_logged"), [({}, True), ({"trusted_proxies": "none"}, False), ({"environment": "development"}, False)]
)
async def test_production_says_at_the_start_that_no_proxy_is_trusted(
    start_service: StartService, capsys: pytest.CaptureFixture[str], changes: dict[str, object], is_logged: bool
) -> None:
    await start_service(**changes)
    assert is_logged == ("AUTHMINT_TRUSTED_PROXIES is not set" in capsys.readouterr().err)
