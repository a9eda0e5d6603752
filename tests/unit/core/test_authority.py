"""What an authority signs is what it was asked for, and nothing that nobody asked for."""

from __future__ import annotations

import datetime
import os
import shutil
import stat
import subprocess
import sys
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
from chipwatt.core.tls import TlsFiles

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


PUTS = """\
import sys
from pathlib import Path
from chipwatt.core.authority import Authority
from chipwatt.core.certificate import Holder
from chipwatt.core.errors import CertificateError
from chipwatt.core.tls import TlsFiles
issued = Authority.create("a.example").issue(Holder("a.example", "agent", "x"))
try:
    issued.replace(TlsFiles(*map(Path, sys.argv[1:])))
except CertificateError as error:
    sys.exit(str(error))
"""
POWERLESS = ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []
"""Root without root's powers, as under the unit that renews."""


def can_lay_powers_down() -> bool:
    if not POWERLESS:
        return True
    found = shutil.which(POWERLESS[0]) is not None
    return found and subprocess.run([*POWERLESS, "true"], check=False).returncode == 0


@pytest.mark.skipif(not can_lay_powers_down(), reason="root cannot lay its powers down here")
@pytest.mark.parametrize("closed", ["cert", "key"])
def test_where_one_of_two_files_cannot_be_replaced_neither_is(tmp_path: Path, closed: str) -> None:
    files = TlsFiles(*(tmp_path / name / f"{name}.pem" for name in ("ca", "cert", "key")))
    for path in (files.ca, files.cert, files.key):
        path.parent.mkdir()
        path.write_text("older")
    folder = tmp_path / closed
    folder.chmod(0o500)
    if POWERLESS:
        os.chown(folder, 54321, -1)
        folder.chmod(0o755)
    paths = map(str, (files.ca, files.cert, files.key))
    command = [*POWERLESS, sys.executable, "-c", PUTS, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    folder.chmod(0o755)
    assert done.returncode == 1
    assert f"{folder}: this process may not write there" in done.stderr
    assert f"ReadWritePaths={folder}" in done.stderr
    assert [path.read_text() for path in (files.ca, files.cert, files.key)] == ["older"] * 3


def test_files_of_any_name_are_replaced_and_whom_to_trust_is_not(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "roots.crt", tmp_path / "a" / "host.crt", tmp_path / "b" / "x")
    files.ca.write_text("trusted")
    authority = Authority.create("a.example")
    issued = authority.issue(Holder("a.example", "agent", "x"))
    issued.replace(files)
    assert files.ca.read_text() == "trusted"
    assert (files.cert.read_bytes(), files.key.read_bytes()) == (issued.cert, issued.key)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.rglob("*")} == {"roots.crt", "a", "host.crt", "b", "x"}


def test_one_file_for_both_is_refused(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text("older")
    (tmp_path / "link.pem").symlink_to(both)
    issued = Authority.create("a.example").issue(Holder("a.example", "agent", "x"))
    with pytest.raises(CertificateError, match="give each a file of its own"):
        issued.replace(TlsFiles(tmp_path / "ca.pem", both, tmp_path / "link.pem"))
    assert both.read_text() == "older"
