"""Addresses to listen on, as settings write them."""

from __future__ import annotations

import ipaddress


def split_address(address: str) -> tuple[str, int]:
    """Return host and port; raises ValueError where ``address`` is not of that form."""
    host, colon, port = address.rpartition(":")
    is_ipv6 = host.startswith("[") and host.endswith("]")
    is_number = port.isascii() and port.isdecimal() and len(port) <= 5
    if not colon or not host or not is_number or int(port) > 65_535:
        raise ValueError(f'listen: {address!r} is not of the form "127.0.0.1:9733"')
    if ":" in host and not is_ipv6:
        raise ValueError(f'listen: an IPv6 address needs brackets, as "[::1]:9733": {address!r}')
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
