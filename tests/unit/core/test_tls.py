"""Files that are replaced one by one are taken up as a whole, and never half."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.core.authority import Authority
from chipwatt.core.certificate import Holder
from chipwatt.core.errors import ConfigError
from chipwatt.core.tls import Renewals, TlsFiles, read

AUTHORITY = Authority.create("test.example")


def bundle(folder: Path, name: str = "node-1") -> TlsFiles:
    return AUTHORITY.issue(Holder("test.example", "agent", name)).save(folder)


def put(source: Path, target: Path) -> None:
    """Replace a file as an administrator does: a new one takes the name."""
    Path(shutil.copy(source, target.with_suffix(".new"))).replace(target)


def test_what_is_read_is_what_stands_there(tmp_path: Path) -> None:
    files = bundle(tmp_path)
    found = read(files)
    assert (found.ca, found.cert) == (files.ca.read_bytes(), files.cert.read_bytes())
    assert found.key == files.key.read_bytes()
    assert files.key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("part", ["ca", "cert", "key"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, part: str) -> None:
    files = bundle(tmp_path)
    path: Path = getattr(files, part)
    path.unlink()
    with pytest.raises(ConfigError, match=f"{path}: TLS file cannot be read: No such file"):
        read(files)
    with pytest.raises(ConfigError, match="No such file"):
        files.stamp()
    path.mkdir()
    with pytest.raises(ConfigError, match=f"{path}: TLS file cannot be read: Is a directory"):
        read(files)


@pytest.mark.parametrize("part", ["ca", "cert", "key"])
@pytest.mark.parametrize("text", ["", "no PEM at all", "-----BEGIN CERTIFICATE-----\nAA\n"])
def test_a_file_that_is_something_else_is_named(tmp_path: Path, part: str, text: str) -> None:
    files = bundle(tmp_path)
    path: Path = getattr(files, part)
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"{path}.*in PEM form"):
        read(files)


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    files, other = bundle(tmp_path / "a"), bundle(tmp_path / "b")
    put(other.key, files.key)
    with pytest.raises(ConfigError, match=f"{files.key}: not the key of the certificate"):
        read(files)


@settings(deadline=None, max_examples=20)
@given(st.permutations(["ca", "cert", "key"]))
def test_in_any_order_a_renewal_is_seen_once_and_whole(order: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files, newer = bundle(Path(folder, "a")), bundle(Path(folder, "b"))
        renewals = Renewals(files)
        first = renewals.read()
        assert not renewals.is_renewed()
        for part in order:
            put(getattr(newer, part), getattr(files, part))
            found = renewals.renewed()
            # A root that came first goes with the older pair, and may be taken up at once.
            assert found is None or (found.cert, found.key) in {
                (first.cert, first.key),
                (newer.cert.read_bytes(), newer.key.read_bytes()),
            }
        assert renewals.renewed() is None, "it was seen"
        assert read(files) == read(newer)


def test_a_renewal_waits_until_it_can_be_used(tmp_path: Path) -> None:
    files, newer = bundle(tmp_path / "a"), bundle(tmp_path / "b")
    renewals = Renewals(files)
    renewals.read()
    put(newer.key, files.key)
    files.cert.unlink()
    assert renewals.renewed() is None
    put(newer.cert, files.cert)
    assert renewals.is_renewed()
    assert renewals.is_renewed(), "looking takes no note"
    found = renewals.renewed()
    assert found is not None
    assert found.key == newer.key.read_bytes()
