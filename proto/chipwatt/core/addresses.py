"""Addresses to listen on and to connect to, as settings write them."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote


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


def stays_here(target: str) -> bool:
    """Return whether what is sent to a gRPC target does not leave this machine.

    A target is ``host:port``, ``[v6]:port``, ``unix:path``, or a peer's address as
    gRPC writes it, ``ipv4:127.0.0.1:4711`` or ``ipv6:%5B::1%5D:4711``.
    """
    if target.startswith("unix:"):
        return True
    address = unquote(target.removeprefix("ipv4:").removeprefix("ipv6:"))
    return is_loopback(address.rpartition(":")[0].strip("[]"))
