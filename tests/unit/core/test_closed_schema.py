"""G0: what an agent sends can express no text, so it cannot leak any."""

from __future__ import annotations

from enum import IntEnum

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from chipwatt.core import columns, model
from chipwatt.v1 import telemetry_pb2, types_pb2

BYTES_ALLOWED = {
    "chipwatt.v1.Hello.host_id",
    "chipwatt.v1.Hello.boot_id",
    "chipwatt.v1.Batch.boot_id",
    "chipwatt.v1.Batch.digest",
    "chipwatt.v1.Batch.payload",
    "chipwatt.v1.Column.data",
}
"""Sixteen-byte ids and digests, the serialised payload, and declared integer columns."""
NUMBERS = {
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_ENUM,
    FieldDescriptor.TYPE_BOOL,
}
SENT = (telemetry_pb2.StreamRequest.DESCRIPTOR, types_pb2.Payload.DESCRIPTOR)


def fields_of(message: Descriptor, seen: set[str]) -> list[FieldDescriptor]:
    """Return every field that can be reached from ``message``."""
    if message.full_name in seen:
        return []
    seen.add(message.full_name)
    found: list[FieldDescriptor] = []
    for field in message.fields:
        found.append(field)
        if field.message_type is not None:
            found += fields_of(field.message_type, seen)
    return found


def sent_fields() -> list[FieldDescriptor]:
    seen: set[str] = set()
    return [field for message in SENT for field in fields_of(message, seen)]


def test_agents_send_numbers_and_declared_bytes_only() -> None:
    for field in sent_fields():
        if field.type == FieldDescriptor.TYPE_BYTES:
            assert field.full_name in BYTES_ALLOWED
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            assert field.message_type is not None
            assert field.message_type.full_name.startswith("chipwatt.v1.")
            assert not field.message_type.GetOptions().map_entry
        else:
            assert field.type in NUMBERS, field.full_name


def test_every_allowed_bytes_field_exists() -> None:
    assert {f.full_name for f in sent_fields() if f.type == FieldDescriptor.TYPE_BYTES} == (
        BYTES_ALLOWED
    )


def test_every_column_is_a_bounded_integer() -> None:
    for kind, specs in columns.COLUMNS.items():
        assert len({s.id for s in specs}) == len({s.name for s in specs}) == len(specs), kind
        for spec in specs:
            assert spec.dtype[0] == "<"
            assert spec.dtype[1] in "iu"
            bits = 8 * spec.width
            top = 2 ** (bits - 1) - 1 if spec.dtype[1] == "i" else 2**bits - 1
            assert -top - 1 <= spec.low <= spec.high <= top
            if spec.absent:
                assert spec.absent_value == top > spec.high
            if spec.ragged_by:
                assert spec.ragged_by in {s.name for s in specs}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (model.DeviceKind, types_pb2.DeviceKind),
        (model.Domain, types_pb2.Domain),
        (model.Interface, types_pb2.Interface),
        (model.Method, types_pb2.Method),
        (model.Statistic, types_pb2.Statistic),
        (model.Attribution, types_pb2.Attribution),
        (model.GapReason, types_pb2.GapReason),
        (model.AbsentReason, types_pb2.AbsentReason),
        (columns.SectionKind, types_pb2.SectionKind),
    ],
)
def test_our_numbers_are_those_of_the_schema(ours: type[IntEnum], theirs: object) -> None:
    descriptor: EnumDescriptor = theirs.DESCRIPTOR  # type: ignore[attr-defined]
    values = list(descriptor.values)
    prefix = values[0].name.removesuffix("UNSPECIFIED")
    assert {v.name.removeprefix(prefix): v.number for v in values if v.number} == {
        member.name: member.value for member in ours
    }


@pytest.mark.parametrize(
    ("section", "column", "enum"),
    [
        (columns.SectionKind.DEVICE, "kind", model.DeviceKind),
        (columns.SectionKind.DEVICE_WINDOW, "domain", model.Domain),
        (columns.SectionKind.DEVICE_WINDOW, "interface", model.Interface),
        (columns.SectionKind.DEVICE_WINDOW, "method", model.Method),
        (columns.SectionKind.DEVICE_WINDOW, "statistic", model.Statistic),
        (columns.SectionKind.GAP, "statistic", model.Statistic),
        (columns.SectionKind.SENSOR, "statistic", model.Statistic),
        (columns.SectionKind.GAP, "domain", model.Domain),
        (columns.SectionKind.GAP, "reason", model.GapReason),
        (columns.SectionKind.SENSOR, "domain", model.Domain),
        (columns.SectionKind.SENSOR, "interface", model.Interface),
        (columns.SectionKind.SENSOR, "method", model.Method),
        (columns.SectionKind.ABSENT, "interface", model.Interface),
        (columns.SectionKind.ABSENT, "reason", model.AbsentReason),
        (columns.SectionKind.WORKLOAD, "attribution", model.Attribution),
    ],
)
def test_enum_columns_range_over_their_enum(
    section: columns.SectionKind, column: str, enum: type[IntEnum]
) -> None:
    (spec,) = (s for s in columns.COLUMNS[section] if s.name == column)
    assert (spec.low, spec.high) == (min(enum), max(enum))
