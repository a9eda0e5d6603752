"""The real ioctl of the source, answered by a preloaded library."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from fakes.build import HERE, build
from fakes.probe import probe
from fakes.scenario import FakeDevice, steady, write_scenario


def run(folder: Path, *sockets: FakeDevice) -> dict[str, Any]:
    write_scenario(folder, sockets)
    mailbox = folder / "hsmp"
    mailbox.touch()
    library = build("hsmp", [HERE / "hsmp.c"], "libfakehsmp.so", extra=["-ldl"]) / "libfakehsmp.so"
    environment = {
        "LD_PRELOAD": str(library),
        "CHIPWATT_FAKE_DIR": str(folder),
        "CHIPWATT_FAKE_HSMP": str(mailbox.resolve()),
    }
    return probe("hsmp", environment, config={"device": str(mailbox)}, polls=1)


def test_sockets_power_and_limit(tmp_path: Path) -> None:
    first = FakeDevice("s0", steady(221_000), numbers={"limit_mw": 360_000})
    seen = run(tmp_path, first, FakeDevice("s1", steady(98_500)))
    assert [sensor["device"] for sensor in seen["sensors"]] == ["cpu/0", "cpu/1"]
    assert [reading[2] for reading in seen["readings"][0]] == [221_000, 98_500]
    assert [limits[0] for _, limits in seen["throttles"][0]] == [360_000, 400_000]


def test_mailbox_that_fails_says_why(tmp_path: Path) -> None:
    seen = run(tmp_path, FakeDevice("s0", steady(1), numbers={"fail_errno": errno.ETIMEDOUT}))
    assert seen["absent"] == "LIBRARY_FAILED"
    assert "timed out" in seen["detail"]


def test_no_mailbox_names_the_module(tmp_path: Path) -> None:
    seen = probe("hsmp", {}, config={"device": str(tmp_path / "none")})
    assert seen["absent"] == "NOT_PRESENT"
    assert "modprobe amd_hsmp" in seen["detail"]
