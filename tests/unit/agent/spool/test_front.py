"""The oldest segment is gone: what was in it, and not settled, is a gap."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipwatt.agent.profiler.closed import Memory
from chipwatt.agent.sender import memory_to_plain
from chipwatt.agent.spool.merger import MergeFailed, Merger
from chipwatt.agent.spool.record import SegmentHeader
from chipwatt.agent.spool.settled import NAME, Settled, write
from chipwatt.agent.spool.spool import Spool
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.columns import MAX_POWER_MW
from chipwatt.core.model import GapReason
from fakes.lines import GPU, energy_uj, gaps_in, line, window, windows_in
from fakes.spools import BOOT, SMALL, InProcess, opened, payloads, read_all

SEGMENT = "00000001.seg"
BEGAN_NS = 50 * NS_PER_S


def memory(number: int) -> bytes:
    """Return where the line stands after window ``number``."""
    last = window(number)
    end_ns = last.start_mono_ns + last.duration_ns
    entry = Memory(GPU, last.domain, last.statistic, last.epoch, last.cumulative_uj, end_ns)
    return json.dumps([memory_to_plain(entry)]).encode()


def filled(folder: Path, count: int, acked: int = 0) -> None:
    """Spool windows, five to a segment, of which the first ``acked`` are."""
    spool = opened(folder, SMALL)
    write(folder, Settled(BOOT, 0, 0, BEGAN_NS, b""))  # as if this clock was the windows'
    for number in range(count):
        spool.append([(line(1, number)[0], memory(number))])
    if acked:
        spool.ack(read_all(spool)[acked - 1].position)
    spool.close()


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("lose", [Path.unlink, empty])
def test_what_was_never_settled_is_a_gap_since_the_spool_was_made(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    filled(tmp_path, 20)
    lose(tmp_path / SEGMENT)
    spool = opened(tmp_path, SMALL)
    first, *others = read_all(spool)
    assert (first.sequence, first.records) == (5, 5)
    assert spool.counts().damaged == 5
    (gap,) = gaps_in([first.payload])
    end_ns = window(5).start_mono_ns
    assert (gap.start_mono_ns, gap.start_mono_ns + gap.duration_ns) == (BEGAN_NS, end_ns)
    assert gap.start_unix_ns + gap.duration_ns == window(5).start_unix_ns
    assert (gap.lower_uj, gap.upper_uj) == (0, gap.duration_ns * MAX_POWER_MW // 10**6)
    assert gap.reason is GapReason.SPOOL_DAMAGED
    assert windows_in(record.payload for record in others) == [window(n) for n in range(5, 20)]
    spool.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acked=st.integers(1, 19), lost=st.integers(1, 2), again=st.booleans())
def test_what_follows_the_newest_settled_record_has_its_energy(
    acked: int, lost: int, again: bool
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        filled(folder, 20, acked)
        oldest = sorted(folder.glob("*.seg"))[:lost]
        if oldest[-1:] == sorted(folder.glob("*.seg"))[-1:]:
            return  # the newest one is another story
        for path in oldest:
            path.unlink()
        found: list[bytes] = []
        counted = 0
        for _ in range(1 + again):
            spool = opened(folder, SMALL)
            found = payloads(spool)
            counted = spool.counts().damaged
            spool.close()
        left = windows_in(found)
        missing = [n for n in range(acked, 20) if window(n) not in left]
        assert counted == len(missing)
        assert sum(gap.lower_uj for gap in gaps_in(found)) == sum(map(energy_uj, missing))
        assert all(gap.lower_uj == gap.upper_uj for gap in gaps_in(found))


def test_what_the_quota_dropped_is_a_gap(tmp_path: Path) -> None:
    class Refusing(InProcess):
        def coarser(self, *_: object) -> list[tuple[int, bytes]]:
            raise MergeFailed("no")

    spool = Spool(tmp_path, BOOT, SMALL, merging=Refusing())
    write(tmp_path, Settled(BOOT, 0, 0, BEGAN_NS, b""))
    for number in range(60):
        spool.append([(line(1, number)[0], memory(number))])
    dropped = spool.counts().dropped
    assert dropped
    spool.close()
    spool = opened(tmp_path, SMALL)
    first, *_ = read_all(spool)
    assert (first.sequence, first.records) == (dropped, dropped)
    (gap,) = gaps_in([first.payload])
    assert gap.start_mono_ns + gap.duration_ns == window(dropped).start_mono_ns
    spool.close()


def test_a_spool_of_which_nobody_knows_what_is_settled_says_nothing(tmp_path: Path) -> None:
    filled(tmp_path, 20)
    (tmp_path / NAME).write_bytes(b"rubbish")
    (tmp_path / SEGMENT).unlink()
    spool = opened(tmp_path, SMALL)
    assert windows_in(payloads(spool)) == [window(n) for n in range(5, 20)]
    spool.close()


@given(st.integers(0, 1 << 63), st.integers(0, 1 << 63), st.binary(max_size=99), st.data())
def test_the_file_comes_back_whole_or_not_at_all(
    epoch: int, sequence: int, text: bytes, data: st.DataObject
) -> None:
    known = Settled(BOOT, epoch, sequence, 5, text)
    packed = bytearray(known.pack())
    assert Settled.unpack(bytes(packed)) == known
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert Settled.unpack(bytes(packed)) is None
    header = SegmentHeader(3, BOOT, epoch, 9, 0, 3)
    assert known.next_sequence(header) == sequence + 1


def test_the_merging_process_is_told_where_lines_stood() -> None:
    stood = Settled(BOOT, 7, 3, 0, memory(2)).stood
    (gap,) = gaps_in([Merger().gap([], line(2, 5), stood)])
    assert gap.lower_uj == gap.upper_uj == energy_uj(3) + energy_uj(4)
