"""A file that may not be opened is missing, with its remedy, until it may."""

from __future__ import annotations

from pathlib import Path

from chipwatt.agent.sensing.closed_files import ClosedFiles
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import AbsentReason


def test_a_denied_file_is_told_until_it_opens(tmp_path: Path) -> None:
    closed = ClosedFiles()
    path = tmp_path / "energy_uj"
    closed.add(path, "cpu/1 (package-1)", PermissionError(13, "Permission denied"), "run chmod")
    (missing,) = closed.missing
    assert missing.reason is AbsentReason.PERMISSION_DENIED
    assert (str(path) in missing.detail, "run chmod" in missing.detail) == (True, True)
    closed.look(0)
    assert closed.denied
    path.write_text("1")
    closed.look(1)
    assert closed, "it is not asked at every poll"
    closed.look(5 * NS_PER_S)
    assert not closed


def test_a_file_that_fails_otherwise_is_no_denial(tmp_path: Path) -> None:
    closed = ClosedFiles()
    closed.add(tmp_path / "power1_input", "gpu/0", OSError(5, "Input/output error"), "udev rule")
    assert not closed.denied
    assert closed.missing[0].reason is AbsentReason.NOT_PRESENT
