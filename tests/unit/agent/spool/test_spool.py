from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.spool.contract import SpoolConfig
from chipwatt.agent.spool.record import SEGMENT_HEADER_BYTES, Position
from chipwatt.agent.spool.spool import Spool
from chipwatt.core.errors import SpoolError
from chipwatt.core.settings import Size
from fakes.spools import BOOT, SMALL, filled, newest, opened, payloads, read_all


def test_keys_count_up_within_one_random_epoch(tmp_path: Path) -> None:
    filled(tmp_path, b"a", b"b")
    spool = opened(tmp_path)
    spool.append([(b"c", b""), (b"d", b"")])
    records = read_all(spool)
    assert [r.sequence for r in records] == [1, 2, 3, 4]
    assert {r.boot_id for r in records} == {BOOT}
    assert len({r.epoch for r in records}) == 1
    assert records[0].epoch != 0
    spool.close()
    other = tmp_path / "other"
    filled(other, b"a")
    again = opened(other)
    assert read_all(again)[0].epoch != records[0].epoch
    again.close()


def test_a_second_process_is_refused_in_one_sentence(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    with pytest.raises(SpoolError, match=f"process id {os.getpid()} is using this spool"):
        opened(tmp_path)
    spool.close()
    spool.close()
    opened(tmp_path).close()


def test_truncation_at_every_byte_keeps_the_whole_records_before_it(tmp_path: Path) -> None:
    filled(tmp_path, b"first", b"second", b"third")
    whole = newest(tmp_path).read_bytes()
    spool = opened(tmp_path)
    ends = [record.position.offset for record in read_all(spool)]
    epoch = read_all(spool)[0].epoch
    spool.close()
    for cut in range(len(whole) + 1):
        directory = tmp_path / f"cut{cut}"
        directory.mkdir()
        (directory / "00000001.seg").write_bytes(whole[:cut])
        spool = opened(directory)
        kept = [b"first", b"second", b"third"][: sum(end <= cut for end in ends)]
        assert payloads(spool) == kept
        assert spool.memory == (b"memory of " + kept[-1] if kept else b"")
        spool.append([(b"next", b"")])
        assert payloads(spool) == [*kept, b"next"]
        # S2: a torn record's sequence is not given again in the same epoch.
        if cut not in (SEGMENT_HEADER_BYTES, *ends):
            assert read_all(spool)[-1].epoch != epoch
        spool.close()
        spool = opened(directory)
        assert payloads(spool) == [*kept, b"next"]
        spool.close()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_costs_one_record_and_is_counted(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    texts = [b"one" * 5, b"two" * 50, b"three", b"four" * 20]
    filled(directory, *texts)
    content = bytearray(newest(directory).read_bytes())
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    newest(directory).write_bytes(content)
    spool = opened(directory)
    found = [payload for payload in payloads(spool) if payload]  # a lost one leaves an empty gap
    in_header = bit // 8 < SEGMENT_HEADER_BYTES
    lost = [text for text in texts if text not in found]
    assert found == [text for text in texts if text in found]
    assert len(lost) == (0 if in_header else 1)
    assert spool.counts().damaged == len(lost)
    spool.append([(b"after", b"")])
    records = read_all(spool)
    assert records[-1].payload == b"after"
    assert len({(r.epoch, r.sequence) for r in records}) == len(records)
    spool.close()


def test_damage_while_open_is_skipped_and_counted(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([(b"one", b""), (b"two", b""), (b"three", b"")])
    content = newest(tmp_path).read_bytes()
    newest(tmp_path).write_bytes(content.replace(b"two", b"tvo"))
    assert [(r.sequence, r.payload) for r in read_all(spool)] == [
        (1, b"one"),
        (2, b""),  # the gap: these payloads know no windows
        (3, b"three"),
    ]
    assert spool.counts().damaged == 1
    assert spool.counts().unacked == 2
    spool.close()


def test_a_segment_without_any_header_is_set_aside(tmp_path: Path) -> None:
    filled(tmp_path, b"lost")
    content = newest(tmp_path).read_bytes()
    newest(tmp_path).write_bytes(bytes(SEGMENT_HEADER_BYTES) + content[SEGMENT_HEADER_BYTES:])
    spool = opened(tmp_path)
    assert payloads(spool) == []
    assert spool.counts().damaged == 1
    assert (tmp_path / "00000001.damaged").exists()
    spool.append([(b"new", b"")])
    assert newest(tmp_path).name == "00000002.seg"
    spool.close()


def test_acked_segments_are_deleted_but_the_newest_stays(tmp_path: Path) -> None:
    spool = opened(tmp_path, SMALL)
    for index in range(10):
        spool.append([(bytes([index]) * 1000, b"m%d" % index)])
    assert len(list(tmp_path.glob("*.seg"))) == 4
    records = read_all(spool)
    spool.ack(records[4].position)
    assert len(list(tmp_path.glob("*.seg"))) == 3
    assert payloads(spool) == [bytes([index]) * 1000 for index in range(5, 10)]
    spool.ack(records[-1].position)
    spool.ack(records[0].position)  # a late ack of old records changes nothing
    assert len(list(tmp_path.glob("*.seg"))) == 1
    assert payloads(spool) == []
    assert spool.counts().unacked == 0
    spool.close()
    spool = opened(tmp_path, SMALL)
    assert payloads(spool) == []
    assert spool.memory == b"m9"
    spool.append([(b"next", b"")])
    assert read_all(spool)[0].sequence == 11
    spool.close()


def test_quota_drops_the_oldest_and_counts_it(tmp_path: Path) -> None:
    spool = opened(tmp_path, SMALL)
    for index in range(40):
        spool.append([(bytes([255, index]) * 500, b"")])
        assert sum(p.stat().st_size for p in tmp_path.glob("*.seg")) <= SMALL.quota
    gap, *left = payloads(spool)
    assert gap == b""
    assert left == [bytes([255, index]) * 500 for index in range(40 - len(left), 40)]
    assert spool.counts().dropped == 40 - len(left) > 0
    assert read_all(spool)[-1].sequence == 40
    spool.close()


def test_a_new_boot_is_a_new_epoch_and_forgets_the_memory(tmp_path: Path) -> None:
    filled(tmp_path, b"before")
    spool = Spool(tmp_path, b"another boot id!")
    assert spool.memory == b""
    spool.append([(b"after", b"new memory")])
    old, new = read_all(spool)
    assert (old.boot_id, old.sequence) == (BOOT, 1)
    assert (new.boot_id, new.sequence) == (b"another boot id!", 1)
    assert old.epoch != new.epoch
    spool.close()


def test_an_unknown_boot_is_never_taken_for_the_same(tmp_path: Path) -> None:
    for _ in range(2):
        spool = Spool(tmp_path, bytes(16))
        assert spool.memory == b""
        spool.append([(b"x", b"memory")])
        spool.close()
    spool = Spool(tmp_path, bytes(16))
    assert [r.sequence for r in read_all(spool)] == [1, 1]
    spool.close()


def test_a_cursor_beyond_the_end_starts_a_new_epoch(tmp_path: Path) -> None:
    filled(tmp_path, b"a", b"b")
    spool = opened(tmp_path)
    records = read_all(spool)
    spool.ack(records[-1].position)
    spool.close()
    os.truncate(newest(tmp_path), records[0].position.offset)  # a disk that lied about b
    spool = opened(tmp_path)
    spool.append([(b"c", b"")])
    again, new = read_all(spool)  # such a cursor is not believed
    assert again == records[0]
    assert (new.payload, new.sequence) == (b"c", 1)
    assert new.epoch != records[0].epoch
    spool.close()
    for path in tmp_path.glob("*.seg"):
        path.unlink()
    spool = opened(tmp_path)
    spool.append([(b"d", b"")])
    assert payloads(spool) == [b"d"]
    spool.close()


def test_reading_from_a_position_that_is_gone_goes_on_with_what_is_there(tmp_path: Path) -> None:
    spool = opened(tmp_path, SMALL)
    for index in range(40):
        spool.append([(bytes([255, index]) * 500, b"")])
    assert spool.read_from(Position(2, 500), 1)[0].payload == payloads(spool)[0]
    assert spool.read_from(Position(10**6, 0), 1) == []
    spool.close()


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot be opened: Not a directory"):
        Spool(tmp_path / "file" / "spool", BOOT)


def test_nothing_to_append_touches_nothing(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([])
    assert list(tmp_path.glob("*.seg")) == []
    spool.close()


@pytest.mark.parametrize(("quota", "segment"), [(4 << 20, 2 << 20), (1 << 20, 100)])
def test_impossible_sizes_are_refused(quota: int, segment: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        SpoolConfig(quota=Size(quota), segment=Size(segment))
