"""Batches from the wire: what is whole passes, nothing else does, nothing crashes."""

from __future__ import annotations

from contextlib import suppress

import hypothesis.strategies as st
import pytest
import zstandard
from hypothesis import given, settings

from chipwatt.collector.ingest.unpack import BatchRefused, unpack
from chipwatt.core.codec import encode_tables
from chipwatt.core.columns import SectionKind
from chipwatt.core.tables import Table, check_tables
from chipwatt.core.wire import MAX_PAYLOAD_BYTES, digest
from chipwatt.v1 import telemetry_pb2 as pb
from unit.collector.ingest.agents import wire
from unit.collector.store.batches import FakeHost

HOST = b"h" * 16
GOOD = FakeHost(1).batch()
PAYLOAD = encode_tables(GOOD.tables)


@pytest.mark.parametrize("packed", [False, True])
def test_a_whole_batch_passes(packed: bool) -> None:
    batch = wire(GOOD)
    if packed:
        batch = wire(GOOD, encoding=pb.ENCODING_ZSTD, payload=zstandard.compress(PAYLOAD))
    incoming = unpack(HOST, batch, 5)
    assert incoming.key.host == HOST
    assert (incoming.key.boot, incoming.key.spool_epoch, incoming.key.sequence) == (b"b" * 16, 7, 1)
    assert incoming.received_unix_ns == 5
    assert encode_tables(incoming.tables) == PAYLOAD


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"boot_id": b""}, "key"),
        ({"digest": b"x" * 15}, "key"),
        ({"sequence": 0}, "key"),
        ({"sequence": 1 << 63}, "key"),
        ({"encoding": 0}, "encoding"),
        ({"digest": b"x" * 16}, "digest"),
        ({"encoding": pb.ENCODING_ZSTD}, "encoding"),
        ({"payload": bytes(MAX_PAYLOAD_BYTES + 1)}, "too large"),
        (
            {"encoding": pb.ENCODING_ZSTD, "payload": zstandard.compress(bytes(1 << 30))},
            "too large",
        ),
        (
            {"encoding": pb.ENCODING_ZSTD, "payload": zstandard.compress(PAYLOAD) + b"x"},
            "encoding",
        ),
        ({"payload": b"\x08", "digest": digest(b"\x08")}, "payload"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], counted: str) -> None:
    with pytest.raises(BatchRefused) as refused:
        unpack(HOST, wire(GOOD, **changes), 5)
    assert refused.value.counted == counted


def test_a_bomb_without_a_length_is_not_unpacked() -> None:
    packer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    bomb = packer.compress(bytes(8 << 20)) + packer.flush()
    with pytest.raises(BatchRefused) as refused:
        unpack(HOST, wire(GOOD, encoding=pb.ENCODING_ZSTD, payload=bomb), 5)
    assert refused.value.reason == pb.REFUSAL_REASON_INVALID


def test_a_device_with_two_names_is_refused() -> None:
    device = GOOD.tables[SectionKind.DEVICE]
    both = Table(device.kind, device.rows, {**device.columns, "ordinal": device["ordinal"] + 1})
    payload = encode_tables({**GOOD.tables, SectionKind.DEVICE: both})
    with pytest.raises(BatchRefused, match=r"DEVICE\.ordinal"):
        unpack(HOST, wire(GOOD, payload=payload, digest=digest(payload)), 5)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_is_refused(data: st.DataObject) -> None:
    damaged = bytearray(PAYLOAD)
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BatchRefused):
        unpack(HOST, wire(GOOD, payload=bytes(damaged)), 5)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_hostile_payload_with_its_own_digest_never_crashes(data: st.DataObject) -> None:
    damaged = bytearray(PAYLOAD)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    payload = bytes(damaged)
    with suppress(BatchRefused):
        incoming = unpack(HOST, wire(GOOD, payload=payload, digest=digest(payload)), 5)
        check_tables(incoming.tables)
