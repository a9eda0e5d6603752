from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from chipwatt.agent.sensing.contract import TransientReadError
from chipwatt.agent.sensing.sysfs import Attribute, Vanished, outcome, read_int, read_text


def test_an_open_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "energy_uj"
    path.write_text("41\n")
    attribute = Attribute(path)
    assert attribute.read() == 41
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, b"42\n", 0)
    os.close(fd)
    assert attribute.read() == 42
    attribute.close()
    attribute.close()


def test_a_removed_file_is_noticed_at_the_first_repeated_value(tmp_path: Path) -> None:
    path = tmp_path / "energy_uj"
    path.write_text("7\n")
    attribute = Attribute(path)
    assert attribute.read() == 7
    assert attribute.read() == 7, "a value may repeat while the file is there"
    path.unlink()
    with pytest.raises(Vanished, match="energy_uj"):
        attribute.read()


def test_a_real_eio_is_transient() -> None:
    # Address 0 is mapped in no process, so the kernel answers this read with EIO.
    attribute = Attribute(Path("/proc/self/mem"))
    with pytest.raises(TransientReadError, match="Input/output error"):
        attribute.read()
    attribute.close()


def test_a_real_sysfs_attribute_is_read() -> None:
    path = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
    if not path.exists():
        pytest.skip("this kernel has no transparent huge pages")
    attribute = Attribute(path)
    assert attribute.read() == read_int(path)
    attribute.close()


def test_text_that_is_no_number_is_transient(tmp_path: Path) -> None:
    (tmp_path / "energy_uj").write_text("N/A\n")
    attribute = Attribute(tmp_path / "energy_uj")
    with pytest.raises(TransientReadError, match="no number"):
        attribute.read()


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EINVAL, errno.EIO, errno.ENODATA])
def test_errnos_that_pass(code: int) -> None:
    assert isinstance(outcome(OSError(code, "x"), Path("f")), TransientReadError)


@pytest.mark.parametrize("code", [errno.ENODEV, errno.ENOENT, errno.ENXIO])
def test_errnos_of_things_that_are_gone(code: int) -> None:
    assert isinstance(outcome(OSError(code, "x"), Path("f")), Vanished)


def test_an_unexpected_errno_stays_what_it_is() -> None:
    error = OSError(errno.EISDIR, "x")
    assert outcome(error, Path("f")) is error


def test_small_files(tmp_path: Path) -> None:
    (tmp_path / "number").write_text(" 12\n")
    (tmp_path / "word").write_text("package-0\n")
    assert read_int(tmp_path / "number") == 12
    assert read_int(tmp_path / "word") is None
    assert read_int(tmp_path / "absent") is None
    assert read_text(tmp_path / "word") == "package-0"
    assert read_text(tmp_path / "absent") is None
