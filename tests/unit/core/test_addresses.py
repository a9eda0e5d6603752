"""Which targets stay on this machine."""

from __future__ import annotations

import pytest

from chipwatt.core.addresses import stays_here

HERE = ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:/run/x.sock"]
PEERS = ["ipv4:127.0.0.1:4711", "ipv6:[::1]:4711", "ipv6:%5B::1%5D:4711"]
AWAY = ["10.0.0.1:1", "collector:1", "127.example.org:1", "localhost.x:1", "dns:localhost:1", ""]


@pytest.mark.parametrize("target", [*HERE, *PEERS])
def test_what_stays_here(target: str) -> None:
    assert stays_here(target)


@pytest.mark.parametrize("target", [*AWAY, "ipv4:10.0.0.1:4711", "ipv6:%5B2001:db8::1%5D:1"])
def test_what_may_leave(target: str) -> None:
    assert not stays_here(target)
