from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from chipwatt.client import CollectorClient
from chipwatt.core.errors import CollectorUnreachable, ConfigError


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_nobody_there_is_one_sentence() -> None:
    address = f"127.0.0.1:{free_port()}"
    with CollectorClient(address) as client, pytest.raises(CollectorUnreachable) as unreachable:
        client.status()
    assert str(unreachable.value) == (
        f"no collector answers at {address}; start one with `chipwatt collector` "
        "or name another address"
    )
    assert unreachable.value.exit_code == 69


def test_somebody_silent_is_given_up_on() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        began_s = time.monotonic()
        with CollectorClient(address, timeout_s=0.2) as client:
            with pytest.raises(CollectorUnreachable, match=address):
                list(client.hosts())
            assert time.monotonic() - began_s < 5


def test_a_missing_certificate_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"/no/ca\.pem: cannot be read"):
        CollectorClient("127.0.0.1:1", ca=Path("/no/ca.pem"))
