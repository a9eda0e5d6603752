"""What an authority signs is what it was asked for, and nothing that nobody asked for."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.core.authority import Authority
from chipwatt.core.certificate import ROLES, Holder, addresses, holder_of, read_certificate, uris
from chipwatt.core.errors import CertificateError

AUTHORITY = Authority.create("test.example")
NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,253}", fullmatch=True)


def certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


ROOT = certificate(AUTHORITY.pem)


@settings(deadline=None)
@given(st.sampled_from(ROLES), NAMES)
def test_who_it_is_for_comes_back(role: str, name: str) -> None:
    holder = Holder("test.example", role, name)
    signed = certificate(AUTHORITY.issue(holder).cert)
    assert holder_of(signed) == holder
    assert uris(signed) == [f"spiffe://test.example/{role}/{name}"]
    signed.verify_directly_issued_by(ROOT)
    assert signed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 254, "ü", "a\n", "%2e"])
def test_a_name_that_makes_no_id_is_refused(name: str) -> None:
    with pytest.raises(CertificateError, match="no name for a certificate"):
        Holder("test.example", "agent", name)


def test_a_role_that_does_not_exist_is_refused() -> None:
    with pytest.raises(CertificateError, match="'root' is no role; roles are agent"):
        Holder("test.example", "root", "x")


@pytest.mark.parametrize("role", ROLES)
def test_only_a_collector_may_serve(role: str) -> None:
    signed = certificate(AUTHORITY.issue(Holder("test.example", role, "x")).cert)
    usage = signed.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert (ExtendedKeyUsageOID.SERVER_AUTH in usage) == (role == "collector")


def test_addresses_stand_in_a_collectors_certificate() -> None:
    wanted = ["collector.example", "10.0.0.1", "2001:db8::1"]
    holder = Holder("test.example", "collector", "main")
    assert addresses(certificate(AUTHORITY.issue(holder, wanted).cert)) == wanted
    with pytest.raises(CertificateError, match="neither a host name nor an IP address"):
        AUTHORITY.issue(holder, ["http://x"])


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5000))
def test_nothing_outlives_the_root(days: int) -> None:
    short = Authority.create("test.example", 30)
    root = certificate(short.pem)
    signed = certificate(short.issue(Holder("test.example", "agent", "x"), days=days).cert)
    assert signed.not_valid_after_utc <= root.not_valid_after_utc
    lasts = signed.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert lasts <= datetime.timedelta(days=days)


@pytest.mark.parametrize("days", [0, -1, 36_501])
def test_days_out_of_range_are_refused(days: int) -> None:
    with pytest.raises(CertificateError, match="1 to 36500 days"):
        Authority.create("test.example", days)


def test_it_comes_back_from_its_folder_and_is_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "authority"
    AUTHORITY.save(folder)
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    again = Authority.load(folder)
    assert (again.pem, again.domain) == (AUTHORITY.pem, "test.example")
    certificate(again.issue(Holder("test.example", "agent", "x")).cert).verify_directly_issued_by(
        ROOT
    )
    with pytest.raises(CertificateError, match="kept here already"):
        AUTHORITY.save(folder)


def test_a_key_of_another_root_is_refused(tmp_path: Path) -> None:
    Authority.create("test.example").save(tmp_path)
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.pem)
    with pytest.raises(CertificateError, match=r"ca\.key: not the key of"):
        Authority.load(tmp_path)
    (tmp_path / "ca.key").write_text("x")
    with pytest.raises(CertificateError, match="no unencrypted private key"):
        Authority.load(tmp_path)
    (tmp_path / "ca.pem").write_text("x")
    with pytest.raises(CertificateError, match="no certificate in PEM form"):
        read_certificate(tmp_path / "ca.pem")


def test_two_roots_of_one_domain_have_names_of_their_own() -> None:
    other = certificate(Authority.create("test.example").pem)
    assert other.subject != ROOT.subject
    with pytest.raises((InvalidSignature, ValueError)):
        certificate(AUTHORITY.issue(Holder("test.example", "agent", "x")).cert
                    ).verify_directly_issued_by(other)  # fmt: skip
