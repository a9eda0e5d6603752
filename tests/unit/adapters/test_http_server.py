"""Where an adapter listens, and where it refuses to."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.adapters.http_server import Listen
from chipwatt.core.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("8099", "is no address: write host:port"),
        ("127.0.0.1:x", "is no address"),
        ("127.0.0.1:70000", "is no address"),
        ("0.0.0.0:8099", "is no loopback address, and schedulers send whole pods"),
        ("127.example.com:8099", "is no loopback address"),
        ("[::]:8099", "is no loopback address"),
    ],
)
def test_where_it_does_not_listen(address: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Listen(address).open()


def test_a_missing_certificate_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--http-cert: /no/cert\.pem: no such file"):
        Listen("0.0.0.0:0", Path("/no/cert.pem")).open()


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with Listen("127.0.0.1:0").open() as first:
        first.listen()
        address = f"127.0.0.1:{first.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"--listen: {address}: Address already in use"):
            Listen(address).open()


def test_both_kinds_of_loopback() -> None:
    for address in ("127.0.0.1:0", "[::1]:0", "localhost:0"):
        with Listen(address).open() as listener:
            assert listener.getsockname()[1]
