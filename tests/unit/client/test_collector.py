from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from chipwatt.client import CollectorClient, RequestCancelled
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
    no = Path("/no/ca.pem")
    with pytest.raises(ConfigError, match=r"/no/ca\.pem: TLS file cannot be read"):
        CollectorClient("127.0.0.1:1", ca=no, cert=no, key=no)
    with pytest.raises(ConfigError, match="go together: give all three or none"):
        CollectorClient("127.0.0.1:1", ca=no)


@pytest.mark.parametrize(
    "address", ["10.0.0.1:9733", "collector:9733", "localhost.x:1", "127.x:1", "dns:x:1"]
)
def test_plain_text_leaves_this_host_only_on_purpose(address: str) -> None:
    with pytest.raises(ConfigError, match="only on purpose"):
        CollectorClient(address)
    CollectorClient(address, plaintext_over_network=True).close()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/x.sock"])
def test_plain_text_within_this_host_needs_no_word(address: str) -> None:
    with CollectorClient(address) as client:
        client.close()
    with pytest.raises(RequestCancelled, match="closed"):
        client.status()
