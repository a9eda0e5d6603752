"""A file that is replaced is whole at every moment, and open to nobody that it was closed to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from chipwatt.core.durable import replace_durably


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
    replace_durably(path, b"new", mode=0o600)
    assert (path.read_bytes(), mode(path)) == (b"new", then)


def test_a_failure_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    replace_durably(path, b"old", mode=0o600)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        replace_durably(path, b"new", mode=0o600, sync=full)
    assert path.read_bytes() == b"old"
    replace_durably(path, b"newer", mode=0o600)
    assert [each.name for each in tmp_path.iterdir()] == ["f"], "what it left is taken away"
