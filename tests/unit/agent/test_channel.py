from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent.channel import TlsConfig, check_address
from chipwatt.core.errors import ConfigError

PLAIN = TlsConfig()
PEM = Path("x.pem")
ENCRYPTED = TlsConfig(PEM, PEM, PEM)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:9733", "localhost:1", "[::1]:65535", "127.8.8.8:80", "unix:/run/chipwatt.sock"],
)
def test_plain_text_stays_on_this_host(address: str) -> None:
    check_address(address, PLAIN, plaintext_allowed=False)


@pytest.mark.parametrize(
    "address", ["10.0.0.1:9733", "collector:9733", "[2001:db8::1]:1", "0.0.0.0:1", "localhost.x:1"]
)
def test_plain_text_never_leaves_it_by_accident(address: str) -> None:
    with pytest.raises(ConfigError, match="only on purpose"):
        check_address(address, PLAIN, plaintext_allowed=False)
    check_address(address, PLAIN, plaintext_allowed=True)
    check_address(address, ENCRYPTED, plaintext_allowed=False)


@pytest.mark.parametrize(
    "address",
    ["", "host", ":9733", "host:", "host:0", "host:65536", "host:x", "::1:9733", "http://h:1",
     "a/b:1", "host:\N{ARABIC-INDIC DIGIT ONE}"],
)  # fmt: skip
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match="is no address: write host:port"):
        check_address(address, ENCRYPTED, plaintext_allowed=False)
