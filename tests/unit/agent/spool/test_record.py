from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.spool.record import (
    CURSOR_BYTES,
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Frame,
    Hole,
    Position,
    Record,
    SegmentHeader,
    pack_cursor,
    pack_frame,
    scan,
    unpack_cursor,
    unpack_frame,
)

SEED = 0xC0FFEE
u64 = st.integers(0, 2**64 - 1)


def packed(sequence: int, payload: bytes, memory: bytes, seed: int = SEED) -> bytes:
    return pack_frame(seed, Record(sequence, 1, 0, payload, memory))


bodies = st.lists(st.tuples(st.binary(max_size=60), st.binary(max_size=20)), max_size=6)
# Payloads that look like the framing are the hard ones.
bait = st.sampled_from([b"CWR\xb1", b"CWR\xb1" * 9, packed(7, b"inner", b"", 8)])
baited = st.lists(st.tuples(st.binary(max_size=40) | bait, st.just(b"[]")), min_size=1, max_size=5)


def frames_of(records: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(packed(i + 1, p, m) for i, (p, m) in enumerate(records))


@given(u64, st.binary(min_size=16, max_size=16), u64, u64, u64)
def test_segment_header_comes_back(
    number: int, boot: bytes, epoch: int, first: int, end: int
) -> None:
    header = SegmentHeader(number, boot, epoch, first, end, number, first)
    assert len(header.pack()) == SEGMENT_HEADER_BYTES
    assert SegmentHeader.unpack(header.pack()) == header


@given(st.integers(0, SEGMENT_HEADER_BYTES * 8 - 1))
def test_segment_header_survives_any_one_bit(bit: int) -> None:
    header = SegmentHeader(3, bytes(range(16)), 99, 5, 4096, 4, 60)
    data = bytearray(header.pack())
    data[bit // 8] ^= 1 << bit % 8
    assert SegmentHeader.unpack(bytes(data)) == header


def test_segment_header_with_both_copies_broken_is_none() -> None:
    data = bytearray(SegmentHeader(3, bytes(16), 99, 5, 4096, 3).pack())
    data[10] ^= 1
    data[90] ^= 1
    assert SegmentHeader.unpack(bytes(data)) is None
    assert SegmentHeader.unpack(b"") is None


@given(
    st.builds(
        Record, u64, st.integers(0, 2**32 - 1), u64, st.binary(max_size=99), st.binary(max_size=50)
    ),
    st.binary(max_size=10),
)
def test_frame_comes_back(record: Record, before: bytes) -> None:
    data = before + pack_frame(SEED, record)
    assert unpack_frame(SEED, data, len(before)) == Frame(record, len(before), len(data))


@given(st.data(), st.binary(max_size=40), st.binary(max_size=10))
def test_no_flipped_bit_passes_as_a_frame(data: st.DataObject, payload: bytes, mem: bytes) -> None:
    frame = bytearray(packed(5, payload, mem))
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8
    assert unpack_frame(SEED, bytes(frame)) is None


@given(bodies)
def test_scan_finds_every_frame(records: list[tuple[bytes, bytes]]) -> None:
    data = frames_of(records)
    found = [
        (f.record.payload, f.record.memory) for f in scan(SEED, data, 0) if isinstance(f, Frame)
    ]
    assert found == records
    assert not any(isinstance(part, Hole) for part in scan(SEED, data, 0))


@given(baited, st.data())
def test_scan_loses_only_the_damaged_record(
    records: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    whole = bytearray(frames_of(records))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    parts = list(scan(SEED, bytes(whole), 0))
    hit = next(
        index for index in range(len(records)) if bit // 8 < len(frames_of(records[: index + 1]))
    )
    records_in = [f.record for f in parts if isinstance(f, Frame)]
    good = {record.sequence: (record.payload, record.memory) for record in records_in}
    expected = {i + 1: r for i, r in enumerate(records) if i != hit}
    assert good == expected
    assert any(isinstance(part, Hole) for part in parts)


@given(baited, st.data())
def test_scan_of_a_cut_log_gives_the_whole_records_before_the_cut(
    records: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    whole = frames_of(records)
    cut = data.draw(st.integers(0, len(whole)))
    good = [f for f in scan(SEED, whole[:cut], 0) if isinstance(f, Frame)]
    complete = [i for i in range(len(records)) if len(frames_of(records[: i + 1])) <= cut]
    assert [f.record.sequence for f in good] == [i + 1 for i in complete]


@given(st.binary(max_size=400))
def test_scan_covers_any_bytes_without_overlap(junk: bytes) -> None:
    at = 0
    for part in scan(SEED, junk, 0):
        assert part.start == at
        assert part.end > part.start
        at = part.end
    assert at == len(junk)


@given(u64, u64)
def test_cursor_comes_back(segment: int, offset: int) -> None:
    data = pack_cursor(Position(segment, offset))
    assert len(data) == CURSOR_BYTES
    assert unpack_cursor(data) == Position(segment, offset)


@given(st.integers(0, 28 * 8 - 1))
def test_cursor_with_a_flipped_bit_is_none(bit: int) -> None:
    data = bytearray(pack_cursor(Position(3, 4096)))
    data[bit // 8] ^= 1 << bit % 8
    assert unpack_cursor(bytes(data)) is None


def test_frame_header_size_is_as_documented() -> None:
    assert FRAME_HEADER_BYTES == 40
    assert packed(1, b"", b"")[:4] == b"CWR\xb1"
