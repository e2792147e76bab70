"""Loopback addresses, where http is allowed. Imports nothing, so that the settings of the service can use it cheaply."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, by its text alone: no name is resolved."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
