"""One batch from the wire, checked completely, as tables."""

from __future__ import annotations

import zstandard

from chipwatt.collector.store.contract import BatchKey, IncomingBatch
from chipwatt.core.codec import decode_tables
from chipwatt.core.errors import InvalidPayload
from chipwatt.core.wire import MAX_PAYLOAD_BYTES, digest
from chipwatt.v1 import telemetry_pb2 as pb

_MAX_SEQUENCE = (1 << 63) - 1


class BatchRefused(Exception):
    """A batch that will never be taken: the reason for the agent, for the counter and in words."""

    def __init__(self, reason: pb.RefusalReason.ValueType, counted: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.counted = counted


def unpack(host: bytes, batch: pb.Batch, received_unix_ns: int) -> IncomingBatch:
    """Check lengths, encoding, digest, columns and ranges, in this order. Raises BatchRefused."""
    if len(batch.boot_id) != 16:
        raise _invalid("key", f"boot id of {len(batch.boot_id)} bytes, 16 expected")
    if len(batch.digest) != 16:
        raise _invalid("key", f"digest of {len(batch.digest)} bytes, 16 expected")
    if not 1 <= batch.sequence <= _MAX_SEQUENCE:
        raise _invalid("key", f"sequence {batch.sequence} is not in 1..2^63-1")
    payload = _plain(batch)
    if digest(payload) != batch.digest:
        raise _invalid("digest", "the payload does not have the digest that came with it")
    try:
        tables = decode_tables(payload)
    except InvalidPayload as error:
        raise _invalid("payload", str(error)) from None
    key = BatchKey(host, batch.boot_id, batch.spool_epoch, batch.sequence)
    return IncomingBatch(key, batch.digest, received_unix_ns, tables)


def _plain(batch: pb.Batch) -> bytes:
    payload = batch.payload
    if batch.encoding == pb.ENCODING_ZSTD:
        payload = _decompressed(payload)
    elif batch.encoding != pb.ENCODING_PLAIN:
        raise _invalid("encoding", f"encoding {batch.encoding} is not known")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _too_large(len(payload))
    return payload


def _decompressed(payload: bytes) -> bytes:
    try:
        # A frame's own length decides what is allocated, so it is read before anything else.
        length = zstandard.frame_content_size(payload)
        if length > MAX_PAYLOAD_BYTES:
            raise _too_large(length)
        return zstandard.ZstdDecompressor().decompress(
            payload, max_output_size=MAX_PAYLOAD_BYTES, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise _invalid("encoding", f"not a zstd frame of at most 256 KiB: {error}") from None


def _invalid(counted: str, message: str) -> BatchRefused:
    return BatchRefused(pb.REFUSAL_REASON_INVALID, counted, message)


def _too_large(length: int) -> BatchRefused:
    return BatchRefused(
        pb.REFUSAL_REASON_TOO_LARGE,
        "too large",
        f"payload of {length} bytes, at most {MAX_PAYLOAD_BYTES}",
    )
