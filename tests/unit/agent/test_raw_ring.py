from __future__ import annotations

import logging
import os
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent import raw_ring
from chipwatt.agent.raw_ring import RawRings, Ring
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.cli import raw
from chipwatt.core.errors import ConfigError
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Interface

SENSORS = [
    Sensor(DeviceId(kind), domain, interface, quantity, root=True)
    for kind, domain, interface, quantity in (
        (DeviceKind.CPU, Domain.PACKAGE, Interface.RAPL_POWERCAP, Quantity.ENERGY_UJ),
        (DeviceKind.GPU, Domain.BOARD, Interface.NVML, Quantity.POWER_MW),
    )
]
MANY = 50_000


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cw") as folder:
        yield Path(folder) / "raw.sock"


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 1 << 60)), max_size=60),
    st.integers(1, 200),
    st.integers(2, 9),
)
def test_a_ring_keeps_the_newest_that_are_young_and_few_enough(
    steps: list[tuple[int, int]], keep_ns: int, most: int
) -> None:
    ring, at_ns, taken = Ring(keep_ns, 16 * most), 0, []
    for step_ns, value in steps:
        at_ns += step_ns
        ring.take(at_ns, value)
        taken.append((at_ns, value))
        young = [pair for pair in taken if pair[0] >= at_ns - keep_ns][-most:]
        flat = ring.pairs().tolist()
        assert list(zip(flat[::2], flat[1::2], strict=True)) == young


def ask(rings: RawRings, path: Path) -> bytes:
    """Connect and read, a look of the sensing process at a time."""
    answer = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
        client.setblocking(False)
        for _ in range(1000):
            rings.look()
            try:
                while piece := client.recv(1 << 16):
                    answer += piece
            except BlockingIOError:
                continue
            return answer
    raise AssertionError("the answer has no end")


def test_the_answer_is_what_was_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rings = RawRings(path, 10**12, SENSORS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for number in range(MANY):
        rings.taker(0)(number, 3 * number)
    rings.taker(1)(5, 250_000)
    for _ in range(2):
        answer = path.parent / "answer"
        answer.write_bytes(ask(rings, path))
        with answer.open("rb") as stream:
            (cpu, energies), (gpu, powers) = raw.sensors(stream)
        assert (cpu["device"], cpu["quantity"], cpu["readings"]) == ("cpu/0", "ENERGY_UJ", MANY)
        assert energies[1::2].tolist() == list(range(0, 3 * MANY, 3))
        assert (gpu["interface"], powers.tolist()) == ("NVML", [5, 250_000])
    said = [record.message for record in caplog.records]
    assert said == [f"raw readings are read by uid {os.geteuid()}, pid {os.getpid()}"] * 2
    rings.close()
    assert not path.exists()


def test_others_are_turned_away_and_told_of(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rings = RawRings(path, 10**12, SENSORS)
    rings.taker(0)(1, 2)
    # The kernel is asked who connects; here it says a user that is neither root nor ours.
    stranger = struct.Struct("=iII").pack(77, os.geteuid() + 4711, 0)
    monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: stranger)
    assert ask(rings, path) == b""
    assert "raw readings refused to uid" in caplog.text
    rings.close()


def test_who_leaves_early_leaves_room_for_the_next(path: Path) -> None:
    rings = RawRings(path, 10**12, SENSORS)
    for number in range(MANY):
        rings.taker(0)(number, number)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
        for _ in range(4):
            rings.look()
    for _ in range(4):
        rings.look()
    assert len(ask(rings, path)) > 16 * MANY
    rings.close()


def test_all_rings_together_have_their_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_ring, "MAX_BYTES", 2 * 16 * 10)
    rings = RawRings(path, 10**12, SENSORS)
    for number in range(100):
        rings.taker(1)(number, number)
    assert ask(rings, path).count(b'"readings": 10}') == 1
    rings.close()


def test_a_place_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sensing\.raw_socket: .*no socket can be made there"):
        RawRings(tmp_path / "none" / "raw.sock", 10**9, SENSORS)


def test_the_command_prints_a_line_a_reading(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import threading

    from chipwatt.cli import main

    rings, over = RawRings(path, 10**12, SENSORS), threading.Event()
    rings.taker(1)(5, 250_000)

    def looking() -> None:
        while not over.wait(0.01):
            rings.look()

    thread = threading.Thread(target=looking)
    thread.start()
    try:
        assert main.run(["raw", str(path)]) == 0
    finally:
        over.set()
        thread.join()
        rings.close()
    assert capsys.readouterr().out.splitlines() == [
        "mono_ns,device,domain,interface,quantity,value",
        "5,gpu/0,BOARD,NVML,POWER_MW,250000",
    ]
    assert main.run(["raw", str(path)]) == 69
    assert "no raw readings" in capsys.readouterr().err
