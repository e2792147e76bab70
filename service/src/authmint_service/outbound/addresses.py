"""Which addresses are public: what the registries of IANA for special-use addresses (RFC 6890) do not list."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_SPECIAL_IPV4 = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        # Of no registry: it reaches the host of a virtual machine, in one large cloud.
        "168.63.129.16/32",
    )
)  # fmt: skip
_GLOBAL_IPV6 = ip_network("2000::/3")
_SPECIAL_IPV6 = tuple(
    ip_network(text)
    # Teredo and 6to4 (2002::/16) hold an IPv4 address that a relay would connect to.
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
_NAT64 = ip_network("64:ff9b::/96")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address belongs to the public internet, whatever form it is written in."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        # A network with IPv6 alone reaches every IPv4 address so.
        return is_public(IPv4Address(address.packed[12:]))
    return address in _GLOBAL_IPV6 and not any(address in network for network in _SPECIAL_IPV6)


def read_canonical(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is, None if it is a name. Raise ValueError for an address in another form.

    `0177.0.0.1`, `0x7f.1` and `2130706433` are 127.0.0.1 for some programs, and other addresses for others.
    """
    try:
        return ip_address(host)
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2].lower()
        if last.isdigit() or last.startswith("0x") or ":" in host:
            raise ValueError("the host is an address in an ambiguous form") from None
        return None
