"""Who a stream belongs to."""

from __future__ import annotations

import grpc
import pytest

from chipwatt.collector.access.caller import read_caller
from chipwatt.collector.ingest.identity import Identity, StreamRefused, identify

HOST = bytes(range(16))
LOCAL, FAR = "ipv4:127.0.0.1:4711", "ipv4:192.0.2.1:4711"


def tls(*uris: str) -> dict[str, list[bytes]]:
    return {"transport_security_type": [b"ssl"], "peer_uri": [uri.encode() for uri in uris]}


def test_the_certificate_names_the_host_and_the_hello_is_ignored() -> None:
    caller = read_caller(tls("spiffe://fleet.example/agent/" + HOST.hex()), FAR)
    assert identify(caller, b"liar") == Identity(HOST, HOST.hex())
    named = identify(read_caller(tls("spiffe://fleet.example/agent/node-7"), FAR), HOST)
    assert (named.name, len(named.host)) == ("node-7", 16)
    assert named.host != HOST


@pytest.mark.parametrize("role", ["operator", "placement", "egress"])
def test_other_certificates_are_no_agents(role: str) -> None:
    caller = read_caller(tls(f"spiffe://fleet.example/{role}/somebody"), LOCAL)
    with pytest.raises(StreamRefused, match="is for no agent") as refused:
        identify(caller, HOST)
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED


def test_without_tls_only_loopback_is_believed() -> None:
    assert identify(read_caller({}, LOCAL), HOST) == Identity(HOST, HOST.hex())
    with pytest.raises(StreamRefused, match="needs TLS") as refused:
        identify(read_caller({}, FAR), HOST)
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert identify(read_caller({}, FAR, any_peer=True), HOST).host == HOST
    with pytest.raises(StreamRefused, match="15 bytes"):
        identify(read_caller({}, LOCAL), HOST[:15])
