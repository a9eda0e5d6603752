"""A file that is replaced is whole at every moment, and open to nobody that it was closed to."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.core.durable import replace_durably, replace_keeping_group


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("wanted", [0o600, 0o644])
def test_a_new_file_has_its_mode_whatever_the_umask(tmp_path: Path, wanted: int) -> None:
    before = os.umask(0o077)
    try:
        replace_durably(tmp_path / "f", b"x", mode=wanted)
    finally:
        os.umask(before)
    assert ((tmp_path / "f").read_bytes(), mode(tmp_path / "f")) == (b"x", wanted)


@pytest.mark.parametrize(("older", "then"), [(0o640, 0o640), (0o600, 0o600), (0o666, 0o660)])
def test_what_the_group_might_it_still_may_and_nobody_else(
    tmp_path: Path, older: int, then: int
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"old")
    path.chmod(older)
    replace_keeping_group(path, b"new", mode=0o600)
    assert (path.read_bytes(), mode(path)) == (b"new", then)
    replace_durably(path, b"newer", mode=0o600)
    assert mode(path) == 0o600, "unasked nothing of the older file's stays"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to any group")
def test_a_group_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"old")
    os.chown(path, -1, 4242)
    replace_keeping_group(path, b"new", mode=0o600)
    assert path.stat().st_gid == 4242
    replace_durably(path, b"newer", mode=0o600)
    assert path.stat().st_gid == os.getegid()


def test_a_unit_that_forbids_to_give_files_away_can_replace_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))  # as its filter answers

    monkeypatch.setattr(os, "fchown", forbidden)
    path = tmp_path / "f"
    replace_durably(path, b"old", mode=0o600)
    replace_durably(path, b"new", mode=0o600)
    with pytest.raises(PermissionError):
        replace_keeping_group(path, b"newer", mode=0o600)
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


@given(
    older=st.binary(max_size=40),
    newer=st.binary(max_size=40),
    failing=st.integers(0, 2),
    litter=st.booleans(),
)
def test_a_failure_leaves_one_whole_file_and_no_other(
    older: bytes, newer: bytes, failing: int, *, litter: bool
) -> None:
    syncs = 0

    def sync(_: int) -> None:
        nonlocal syncs
        syncs += 1
        if syncs == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        replace_durably(path, older, mode=0o600)
        if litter:  # of a process that was killed half way
            (path.parent / f".f.{os.getpid()}").write_bytes(b"half")
        with pytest.raises(OSError, match="No space") if failing else nullcontext():
            replace_durably(path, newer, mode=0o600, sync=sync)
        assert path.read_bytes() == (older if failing == 1 else newer)
        assert [each.name for each in path.parent.iterdir()] == ["f"]
