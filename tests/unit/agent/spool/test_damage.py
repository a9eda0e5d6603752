"""A record whose bytes have changed: it alone is lost, and a gap says what was in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipwatt.agent.spool.contract import SpoolConfig
from chipwatt.agent.spool.merger import MergeFailed
from chipwatt.agent.spool.record import START
from chipwatt.agent.spool.segment import SUFFIX
from chipwatt.agent.spool.spool import Spool
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.model import GapReason
from chipwatt.core.settings import Size
from fakes.lines import energy_uj, gaps_in, line, line_energy_uj, window, windows_in
from fakes.spools import BOOT, InProcess, opened, payloads, read_all

CONFIG = SpoolConfig(quota=Size(1 << 20), segment=Size(4096))  # seven of these to a segment


def written(folder: Path, count: int) -> None:
    spool = opened(folder, CONFIG)
    for payload in line(count):
        spool.append([(payload, b"memory")])
    spool.close()


def break_records(folder: Path, numbers: Sequence[int]) -> None:
    for number in numbers:
        (payload,) = line(1, number)
        for path in folder.glob(f"*{SUFFIX}"):
            content = path.read_bytes()
            if payload in content:
                path.write_bytes(content.replace(payload, bytes(byte ^ 1 for byte in payload)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(st.integers(1, 28), max_size=12), st.booleans())
def test_every_loss_between_two_records_is_a_gap_with_its_energy(
    tmp_path_factory: object, lost: set[int], in_use: bool
) -> None:
    folder = tmp_path_factory.mktemp("spool")  # type: ignore[attr-defined]
    written(folder, 30)
    spool = opened(folder, CONFIG)
    break_records(folder, sorted(lost))
    if not in_use:
        spool.close()
        spool = opened(folder, CONFIG)
    records = read_all(spool)
    assert spool.counts().damaged == len(lost)
    found = [record.payload for record in records]
    assert windows_in(found) == [window(n) for n in range(30) if n not in lost]
    gaps = gaps_in(found)
    assert sum(gap.lower_uj for gap in gaps) == sum(map(energy_uj, lost))
    assert all(gap.lower_uj == gap.upper_uj for gap in gaps)
    assert sum(gap.duration_ns for gap in gaps) == 10 * NS_PER_S * len(lost)
    assert {gap.reason for gap in gaps} <= {GapReason.SPOOL_DAMAGED}
    # Every sequence is covered once, and a reader may go on from any position.
    covered = [n for r in records for n in range(r.sequence - r.records + 1, r.sequence + 1)]
    assert covered == list(range(1, 31))
    assert all(a.position < b.position for a, b in pairwise(records))
    for at, record in enumerate(records[:-1]):
        assert spool.read_from(record.position, 1)[0] == records[at + 1]
    spool.ack(records[len(records) // 2].position)
    assert read_all(spool) == records[len(records) // 2 + 1 :]
    spool.close()
    spool = opened(folder, CONFIG)
    assert read_all(spool) == records[len(records) // 2 + 1 :]
    spool.close()


def test_a_gap_is_known_although_what_lies_before_it_was_acked(tmp_path: Path) -> None:
    """S8: the record before the cursor stays for this."""
    written(tmp_path, 16)
    spool = opened(tmp_path, CONFIG)
    records = read_all(spool)
    spool.ack(records[6].position)  # all of the first segment
    spool.close()
    break_records(tmp_path, [7])
    spool = opened(tmp_path, CONFIG)
    gap, *left = read_all(spool)
    assert (gap.sequence, gap.records) == (8, 1)
    assert [g.upper_uj for g in gaps_in([gap.payload])] == [energy_uj(7)]
    assert left == records[8:]
    spool.close()


def test_the_newest_record_waits_for_the_next_before_it_counts_as_a_gap(tmp_path: Path) -> None:
    spool = opened(tmp_path, CONFIG)
    for payload in line(3):
        spool.append([(payload, b"")])
    break_records(tmp_path, [2])
    assert len(read_all(spool)) == 2
    spool.append([(line(1, 3)[0], b"")])
    assert [g.upper_uj for g in gaps_in(payloads(spool))] == [energy_uj(2)]
    assert spool.counts().damaged == 1
    spool.close()


def test_a_torn_newest_record_is_counted(tmp_path: Path) -> None:
    written(tmp_path, 3)
    path = tmp_path / "00000001.seg"
    path.write_bytes(path.read_bytes()[:-20])
    spool = opened(tmp_path, CONFIG)
    assert spool.counts().damaged == 1
    assert windows_in(payloads(spool)) == [window(0), window(1)]
    spool.close()


def test_a_segment_that_is_gone_is_a_gap(tmp_path: Path) -> None:
    written(tmp_path, 30)
    (tmp_path / "00000002.seg").write_bytes(bytes(4000))
    spool = opened(tmp_path, CONFIG)
    found = payloads(spool)
    (gap,) = gaps_in(found)
    assert gap.lower_uj == gap.upper_uj == line_energy_uj(14) - line_energy_uj(7)
    known_uj = sum(w.energy_uj for w in windows_in(found))
    assert known_uj + gap.lower_uj == line_energy_uj(30)
    spool.close()


class NoGaps(InProcess):
    def gap(self, *_: object) -> bytes:
        raise MergeFailed("no memory for it")


def test_a_gap_that_cannot_be_made_holds_nothing_up(tmp_path: Path) -> None:
    written(tmp_path, 5)
    break_records(tmp_path, [2])
    spool = Spool(tmp_path, BOOT, CONFIG, merging=NoGaps())
    assert [record.sequence for record in read_all(spool)] == [1, 2, 4, 5]
    assert spool.read_from(START, 1)[0].sequence == 1
    spool.close()
