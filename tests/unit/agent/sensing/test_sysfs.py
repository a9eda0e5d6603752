from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.sensing.contract import TransientReadError
from chipwatt.agent.sensing.sysfs import (
    Attribute,
    Vanished,
    is_decimal,
    outcome,
    read_int,
    read_text,
)
from chipwatt.core.clock import NS_PER_MS


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


def test_whoever_reads_often_hears_of_a_removed_file_within_20_ms(tmp_path: Path) -> None:
    path = tmp_path / "energy_uj"
    path.write_text("7\n")
    attribute = Attribute(path)
    assert [attribute.read(at_ms * NS_PER_MS) for at_ms in (100, 101)] == [7, 7]
    path.unlink()
    assert attribute.read(102 * NS_PER_MS) == 7
    with pytest.raises(Vanished, match="energy_uj"):
        attribute.read(121 * NS_PER_MS)


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


NO_NUMBERS = ("", "\n", "N/A\n", "1_0", "+1", " 1", "\t1", "--1", "-", "1-", "1 2", "٣", "9" * 64)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_text_that_the_kernel_would_not_write_is_transient(tmp_path: Path, text: str) -> None:
    """``int`` takes some of it for a number."""
    path = tmp_path / "energy_uj"
    path.write_text(text)
    attribute = Attribute(path)
    for _ in range(2):
        with pytest.raises(TransientReadError, match="no number"):
            attribute.read()
    assert read_int(path) is None or text != text.strip()
    path.write_text("12\n")
    assert attribute.read() == 12


@given(value=st.integers(-(1 << 63), (1 << 64) - 1), padding=st.text(" \n", max_size=10))
def test_every_number_of_64_bits_is_read(value: int, padding: str) -> None:
    text = f"{value}{padding}".encode()
    assert is_decimal(text)
    assert int(text) == value


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
