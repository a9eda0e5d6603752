"""What the collector wants of batches reaches the process that makes them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent import sensing_link as link
from chipwatt.agent.intake import Intake
from chipwatt.agent.profiler.grid import Grid
from chipwatt.agent.sensing_child import SensingChild
from chipwatt.agent.spool.spool import Spool
from chipwatt.agent.spool.threaded import ThreadedSpool
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.errors import InvalidPayload
from fakes import sensing_program
from fakes.uplink_rig import BOOT, poll, run


@given(st.integers(0, link.MAX_BATCH_S), st.integers(1, 7))
def test_the_frame_comes_back_whatever_pieces_it_comes_in(batch_s: int, piece: int) -> None:
    frame = link.encode(link.SetCadence(batch_s)) + link.encode(link.Stop())
    reader = link.FrameReader()
    found = [m for at in range(0, len(frame), piece) for m in reader.feed(frame[at : at + piece])]
    assert found == [link.SetCadence(batch_s), link.Stop()]


@pytest.mark.parametrize("body", [b"", b"\x3d", b"\xff", b"\x01\x00"])
def test_an_impossible_cadence_breaks_the_format(body: bytes) -> None:
    frame = (len(body) + 1).to_bytes(4, "little") + bytes([link.Kind.SET_CADENCE]) + body
    with pytest.raises(InvalidPayload):
        link.FrameReader().feed(frame)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 200))
def test_batches_end_by_the_new_cadence_from_the_block_after_the_current_one(
    before_s: int, after_s: int, blocks: int
) -> None:
    grid = Grid(0, 1_780_000_000 * NS_PER_S, 600 * NS_PER_S, before_s * NS_PER_S)
    for _ in range(blocks):
        span = grid.advance()
        end_s = (span.start_unix_ns + span.length_ns) // NS_PER_S
        assert span.ends_batch == (end_s % before_s == 0)
    planned = grid.current.ends_batch
    grid.set_batch(after_s * NS_PER_S)
    assert grid.advance().ends_batch == planned
    for _ in range(120):
        span = grid.advance()
        end_s = (span.start_unix_ns + span.length_ns) // NS_PER_S
        assert span.ends_batch == (end_s % after_s == 0)


@pytest.mark.parametrize("batch_ns", [0, -NS_PER_S, NS_PER_S + 1])
def test_a_batch_that_is_no_whole_second_is_refused(batch_ns: int) -> None:
    with pytest.raises(ValueError, match="whole number of seconds"):
        Grid(0, 0, NS_PER_S, NS_PER_S).set_batch(batch_ns)


@pytest.mark.parametrize(
    ("cadence_ms", "told"), [(2000, [2]), (60_000, [60]), (0, []), (1500, []), (61_000, [])]
)
def test_each_sensing_process_is_told(tmp_path: Path, cadence_ms: int, told: list[int]) -> None:
    async def test() -> None:
        spool = ThreadedSpool(Spool(tmp_path / "spool", BOOT))
        log = tmp_path / "lives"
        program = str(sensing_program.__file__)
        # The first life dies with what it was told, the second hears it again.
        script = "hear exit:1|hear exit:1|send:last done" if told else "exit:1|send:last done"
        child = SensingChild(
            link.Start({}, {}),
            Intake(spool),
            (sys.executable, program, script, str(log), "--fd"),
            lambda: iter([0.01] * 9),
        )
        child.set_cadence(cadence_ms)
        async with asyncio.timeout(30):
            await child.run()
        said = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["cadence_s"] for line in said if "cadence_s" in line] == told * 2
        await spool.close()

    run(test())


def test_a_cadence_that_changes_is_passed_on_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        spool = ThreadedSpool(Spool(tmp_path / "spool", BOOT))
        log = tmp_path / "lives"
        program = str(sensing_program.__file__)
        command = (sys.executable, program, "send:up hear hear hear wait", str(log), "--fd")
        intake = Intake(spool)
        child = SensingChild(link.Start({}, {}), intake, command)
        running = asyncio.create_task(child.run())
        async with asyncio.timeout(30):
            await poll(lambda: intake.received > 0)
            for heard, cadence_ms in enumerate((5000, 30_000, 0), 1):
                child.set_cadence(cadence_ms)
                child.set_cadence(cadence_ms)
                await poll(lambda n=heard: log.read_text().count("cadence_s") == n)  # type: ignore[misc]
            child.stop()
            await running
        said = [json.loads(line) for line in log.read_text().splitlines()[1:]]
        assert said == [{"cadence_s": 5}, {"cadence_s": 30}, {"cadence_s": 0}]
        await spool.close()

    run(test())
