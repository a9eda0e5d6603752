"""Who a stream belongs to."""

from __future__ import annotations

import grpc
import pytest

from chipwatt.collector.ingest.identity import Identity, StreamRefused, identify, is_loopback

HOST = bytes(range(16))


def tls(*uris: str) -> dict[str, list[bytes]]:
    return {"transport_security_type": [b"ssl"], "peer_uri": [uri.encode() for uri in uris]}


@pytest.mark.parametrize(
    ("peer", "loopback"),
    [
        ("ipv4:127.0.0.1:4711", True),
        ("ipv4:127.9.9.9:1", True),
        ("ipv6:%5B::1%5D:4711", True),
        ("ipv6:[::1]:4711", True),
        ("unix:/run/x.sock", True),
        ("unix:", True),
        ("ipv4:10.0.0.1:4711", False),
        ("ipv6:%5B2001:db8::1%5D:4711", False),
        ("ipv4:localhost:1", False),
        ("", False),
    ],
)
def test_loopback(peer: str, loopback: bool) -> None:
    assert is_loopback(peer) is loopback


def test_the_certificate_names_the_host_and_the_hello_is_ignored() -> None:
    auth = tls("spiffe://fleet.example/agent/" + HOST.hex())
    assert identify(auth, "ipv4:10.0.0.1:1", b"liar") == Identity(HOST, HOST.hex())
    named = identify(tls("https://x", "spiffe://fleet.example/agent/node-7"), "", b"")
    assert named.name == "node-7"
    assert len(named.host) == 16
    assert named == identify(tls("spiffe://fleet.example/agent/node-7"), "", HOST)
    assert named.host != identify(tls("spiffe://fleet.example/agent/node-8"), "", HOST).host


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://fleet.example/placement/scheduler",
        "spiffe://fleet.example/agent/",
        "spiffe://fleet.example/agent/a/b",
        "spiffe:///agent/a",
        "https://fleet.example/agent/a",
        "spiffe://fleet.example/agent/" + "a" * 300,
        "spiffe://fleet.example/agent/a?b",
    ],
)
def test_other_certificates_are_no_agents(uri: str) -> None:
    with pytest.raises(StreamRefused, match="is no agent") as refused:
        identify(tls(uri), "ipv4:127.0.0.1:1", HOST)
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED


def test_a_certificate_without_a_name_is_nobody() -> None:
    with pytest.raises(StreamRefused, match="names no host") as refused:
        identify(tls(), "ipv4:127.0.0.1:1", HOST)
    assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED


def test_without_tls_only_loopback_is_believed() -> None:
    assert identify({}, "ipv4:127.0.0.1:1", HOST) == Identity(HOST, HOST.hex())
    with pytest.raises(StreamRefused, match="needs TLS") as refused:
        identify({}, "ipv4:192.0.2.1:1", HOST)
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert identify({}, "ipv4:192.0.2.1:1", HOST, any_peer=True).host == HOST
    with pytest.raises(StreamRefused, match="15 bytes"):
        identify({}, "ipv4:127.0.0.1:1", HOST[:15])
