from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.core.identity import DeviceId, boot_id, host_id, parse_device
from chipwatt.core.model import DeviceKind

kinds = st.sampled_from(list(DeviceKind))
MACHINE_ID = "0123456789abcdef0123456789abcdef"


@given(kinds, st.integers(0, 2**32 - 1))
def test_devices_told_apart_by_ordinal_come_back(kind: DeviceKind, ordinal: int) -> None:
    device = DeviceId(kind, ordinal)
    assert parse_device(str(device)) == device


@given(kinds, st.integers(1, 2**128 - 1))
def test_devices_with_a_uuid_come_back(kind: DeviceKind, uid: int) -> None:
    assert parse_device(str(DeviceId(kind, 0, uid))) == DeviceId(kind, 0, uid)


def test_a_device_has_one_name() -> None:
    with pytest.raises(ValueError, match="not both"):
        DeviceId(DeviceKind.GPU, 1, 1)


def test_names_are_those_of_the_vendors_tools() -> None:
    assert str(DeviceId(DeviceKind.CPU, 1)) == "cpu/1"
    uid = 0x12345678_1234_1234_1234_123456789ABC
    assert str(DeviceId(DeviceKind.GPU, 0, uid)) == "gpu/GPU-12345678-1234-1234-1234-123456789abc"
    assert str(DeviceId(DeviceKind.MODULE, 0, uid)).startswith("module/12345678-")


@pytest.mark.parametrize(
    "text", ["", "cpu", "cpu/", "cpu/-1", "cpu/x", "toaster/0", "gpu/GPU-", "gpu/GPU-123", "cpu/²"]
)
def test_what_is_no_device_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_device(text)


@given(st.text())
def test_any_text_is_a_device_or_a_value_error(text: str) -> None:
    try:
        device = parse_device(text)
    except ValueError:
        return
    assert parse_device(str(device)) == device


def root_with(tmp_path: Path, **files: str) -> Path:
    for name, content in files.items():
        path = tmp_path / name.replace("__", "/").replace("_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def test_the_machine_id_is_the_host_id(tmp_path: Path) -> None:
    root = root_with(tmp_path, etc__machine_id=MACHINE_ID + "\n")
    assert host_id(tmp_path / "state", root) == bytes.fromhex(MACHINE_ID)
    assert not (tmp_path / "state").exists()


def test_dbus_has_it_where_etc_has_not(tmp_path: Path) -> None:
    root = root_with(
        tmp_path, etc__machine_id="uninitialized\n", var__lib__dbus__machine_id=MACHINE_ID
    )
    assert host_id(tmp_path / "state", root) == bytes.fromhex(MACHINE_ID)


@pytest.mark.parametrize("content", ["", "uninitialized", "abcd", "0" * 32, "zz" * 16])
def test_a_machine_without_an_id_keeps_one_of_its_own(tmp_path: Path, content: str) -> None:
    root = root_with(tmp_path, etc__machine_id=content)
    state = tmp_path / "state" / "deep"
    first = host_id(state, root)
    assert len(first) == 16
    assert any(first)
    assert host_id(state, root) == first
    assert host_id(tmp_path / "another", root) != first
    (state / "host-id").write_text("broken")
    again = host_id(state, root)
    assert host_id(state, root) == again


def test_the_boot_id(tmp_path: Path) -> None:
    root = tmp_path
    assert boot_id(root) == bytes(16)
    path = root / "proc/sys/kernel/random/boot_id"
    path.parent.mkdir(parents=True)
    path.write_text("12345678-1234-1234-1234-123456789abc\n")
    assert boot_id(root).hex() == "12345678123412341234123456789abc"
    path.write_text("nothing of the kind\n")
    assert boot_id(root) == bytes(16)


def test_this_machine_has_a_boot_id_that_stays() -> None:
    assert boot_id() == boot_id()
    assert len(boot_id()) == 16
