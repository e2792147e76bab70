"""Finds the address of a client whose request came through proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`.

A client can send these headers as well. Each proxy adds the address that it saw at the right end, so they are read from the
right, as long as the address reached so far is one of a trusted proxy. What a client wrote is left of that, and is not read.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from authmint_service.ip_addresses import format_address, parse_address

DIRECT = "none"
"""The value of the setting that says: clients connect directly."""
MAX_HOPS = 16
"""Entries that are read. More proxies than this in a row have no use."""
MAX_ENTRY_BYTES = 256

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network


class TrustedProxies:
    """The networks of the proxies whose headers are used."""

    def __init__(self, networks: Collection[str]) -> None:
        """`networks`: addresses, or networks in CIDR notation; empty or `none`: no proxy is trusted. Raise ValueError."""
        self._networks = () if tuple(networks) == (DIRECT,) else tuple(_parse_network(text) for text in networks)

    def find_client(self, peer: str | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the address of the client, None if the transport has none. Never raise for what a request holds.

        `peer`: the other end of the connection; `headers`: as ASGI has them. An entry that cannot be read (`unknown`, an
        obfuscated identifier, no address) counts as the proxy that wrote it. If both headers are there and lead to different
        addresses, one of them may be the client's own, and the result is the peer.
        """
        nearest = parse_address(peer or "")
        if nearest is None:
            return peer
        if not self._networks or not self._trusts(nearest):
            return format_address(nearest)
        forwarded, forwarded_for = list[bytes](), list[bytes]()
        for name, value in headers:
            if name == b"forwarded":
                forwarded.append(value)
            elif name == b"x-forwarded-for":
                forwarded_for.append(value)
        found = {
            self._walk(nearest, map(read, _from_right(lines)))
            for lines, read in ((forwarded, _read_forwarded), (forwarded_for, _read_node))
            if lines
        }
        return format_address(found.pop() if len(found) == 1 else nearest)

    def _walk(self, nearest: _Address, entries: Iterator[_Address | None]) -> _Address:
        reached = nearest
        for _, entry in zip(range(MAX_HOPS), entries, strict=False):
            if entry is None:
                break
            reached = entry
            if not self._trusts(reached):
                break
        return reached

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def _parse_network(text: str) -> _Network:
    network = ip_network(text)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    # Addresses of clients are compared as IPv4 when they are IPv4 inside IPv6.
    if mapped is not None and network.prefixlen >= 96:
        network = IPv4Network((mapped, network.prefixlen - 96))
    if network.prefixlen == 0:
        raise ValueError("A network of all addresses would trust everybody.")
    return network


def _from_right(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Return the entries of a header, the last first. A header in several lines is one list (RFC 9110, section 5.3).

    A comma inside of a quoted string divides as well: otherwise one quotation mark of a client would hide what a proxy adds.
    """
    for line in reversed(lines):
        rest, comma = line, b","
        while comma:
            rest, comma, entry = rest.rpartition(b",")
            yield entry


def _read_forwarded(entry: bytes) -> _Address | None:
    """Return the address of the parameter `for` (RFC 7239, section 5.2), None if it is missing, repeated or no address."""
    # A proxy may quote what a client wrote, as its Host with a comma. The part right of that comma is the client's as well.
    is_part = entry.count(b'"') % 2 == 1 or b"\\" in entry
    if is_part or len(entry) > MAX_ENTRY_BYTES:
        return None
    parameters = [parameter.partition(b"=") for parameter in entry.split(b";")]
    nodes = [value.strip(b" \t") for name, _, value in parameters if name.strip(b" \t").lower() == b"for"]
    if len(nodes) != 1:
        return None
    node = nodes[0]
    return _read_node(node[1:-1] if len(node) > 1 and node[:1] == node[-1:] == b'"' else node)


def _read_node(entry: bytes) -> _Address | None:
    """Return the address of `192.0.2.1`, `192.0.2.1:47011`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:47011`."""
    if len(entry) > MAX_ENTRY_BYTES:
        return None
    text = entry.decode("latin-1").strip(" \t")
    if "%" in text:
        # A zone has a meaning on the proxy alone.
        return None
    if text.startswith("["):
        inner, closed, port = text[1:].partition("]")
        return parse_address(inner) if closed and ":" in inner and (not port or port.startswith(":")) else None
    return parse_address(text.partition(":")[0] if text.count(":") == 1 else text)
