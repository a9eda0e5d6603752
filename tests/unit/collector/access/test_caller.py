"""A caller from gRPC's authentication context: exactly what a certificate says, else nobody."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.access.caller import (
    host_id,
    is_local,
    need_certificates,
    read_caller,
    source_of,
)
from chipwatt.collector.access.role import Role
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.errors import ConfigError
from e2e.faults.certificates import Authority

HOST = bytes(range(16))
FAR = "ipv4:192.0.2.1:4711"


def tls(*uris: str | bytes) -> dict[str, list[bytes]]:
    encoded = [uri if isinstance(uri, bytes) else uri.encode() for uri in uris]
    return {"transport_security_type": [b"ssl"], "peer_uri": encoded}


@pytest.mark.parametrize(
    ("peer", "source", "local"),
    [
        ("ipv4:127.0.0.1:4711", "127.0.0.1", True),
        ("ipv4:127.9.9.9:1", "127.9.9.9", True),
        ("ipv6:%5B::1%5D:4711", "::1", True),
        ("ipv6:[::1]:4711", "::1", True),
        ("unix:/run/x.sock", "unix", True),
        ("unix:", "unix", True),
        ("ipv4:10.0.0.1:4711", "10.0.0.1", False),
        ("ipv6:%5B2001:db8::1%5D:4711", "2001:db8::1", False),
        ("ipv4:localhost:1", "localhost", False),
        ("", "", False),
    ],
)
def test_where_a_peer_is(peer: str, source: str, local: bool) -> None:
    assert source_of(peer) == source
    assert is_local(source) is local


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.NONE}))
def test_a_certificate_says_role_and_name(role: Role) -> None:
    caller = read_caller(tls("https://x", f"spiffe://fleet.example/{role}/node-7"), FAR)
    assert (caller.role, caller.name, caller.source) == (role, "node-7", "192.0.2.1")
    assert caller.roles == {role}
    assert caller.host == (host_id("node-7") if role is Role.AGENT else None)


def test_a_host_is_its_id_in_hexadecimal_or_a_name_of_its_own() -> None:
    assert host_id(HOST.hex()) == HOST
    assert host_id(HOST.hex()[:-1]) != host_id(HOST.hex()[:-2])
    assert len(host_id("node-7")) == 16


@pytest.mark.parametrize(
    "uris",
    [
        (),
        ("spiffe://fleet.example/none/somebody",),
        ("spiffe://fleet.example/collector/main",),
        ("spiffe://fleet.example/Operator/root",),
        ("spiffe://fleet.example/agent/",),
        ("spiffe://fleet.example/agent/a/b",),
        ("spiffe:///agent/a",),
        ("https://fleet.example/operator/a",),
        ("spiffe://fleet.example/agent/" + "a" * 300,),
        ("spiffe://fleet.example/operator/a?b",),
        ("spiffe://[fleet/operator/a",),
        (b"spiffe://fleet.example/operator/\xff",),
        # Two ids, two callers: neither is believed.
        ("spiffe://fleet.example/agent/a", "spiffe://fleet.example/operator/a"),
        ("spiffe://fleet.example/operator/a", "spiffe://fleet.example/../a"),
        ("spiffe://fleet.example/operator/a", "SPIFFE://fleet.example/none/a"),
        ("spiffe://root@fleet.example/operator/a",),
        ("spiffe://fleet.example:99/operator/a",),
    ],
)
def test_what_names_no_role_is_nobody_even_on_this_machine(uris: tuple[str | bytes, ...]) -> None:
    caller = read_caller(tls(*uris), "ipv4:127.0.0.1:1", any_peer=True)
    assert (caller.role, caller.host, caller.roles) == (Role.NONE, None, frozenset({Role.NONE}))


def test_an_operator_of_another_domain_is_nobody_here() -> None:
    one = tls("spiffe://fleet.example/operator/ann")
    assert read_caller(one, FAR, trust_domain="fleet.example").role is Role.OPERATOR
    assert read_caller(one, FAR, trust_domain="example").role is Role.NONE
    assert read_caller({}, "unix:", trust_domain="fleet.example").role is Role.OPERATOR


@given(st.lists(st.binary(max_size=60)))
def test_no_bytes_break_it_or_make_a_role(uris: list[bytes]) -> None:
    assert read_caller(tls(*uris), FAR).role is Role.NONE


def test_without_tls_this_machine_is_operator_and_agent_and_others_are_nobody() -> None:
    local = read_caller({}, "ipv4:127.0.0.1:1")
    assert local.roles == {Role.OPERATOR, Role.AGENT}
    assert read_caller({}, FAR).roles == {Role.NONE}
    assert read_caller({}, FAR, any_peer=True).roles == {Role.OPERATOR, Role.AGENT}


def test_the_end_of_a_certificate_is_read(tmp_path: Path) -> None:
    identity = x509.UniformResourceIdentifier("spiffe://fleet.example/operator/root")
    pem = Path(Authority(tmp_path).issue("root", identity, 60)["cert"]).read_bytes()
    auth = tls("spiffe://fleet.example/operator/root") | {"x509_pem_cert": [pem]}
    caller = read_caller(auth, FAR)
    ends = int(x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()) * NS_PER_S
    assert caller.not_after_unix_ns == ends
    assert not caller.is_expired(ends)
    assert caller.is_expired(ends + 1)
    assert not read_caller({}, "unix:").is_expired(1 << 62)


def test_a_missing_package_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    need_certificates()
    monkeypatch.setitem(sys.modules, "cryptography.x509", None)
    with pytest.raises(ConfigError, match="needs the Python package cryptography"):
        need_certificates()
