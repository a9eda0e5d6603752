"""Every way in which a payload can break the schema, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chipwatt.core import codec, wire
from chipwatt.core.columns import COLUMNS, MAX_ROWS, SectionKind
from chipwatt.core.errors import InvalidPayload
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import (
    AbsentReason,
    DeviceKind,
    Domain,
    GapReason,
    Interface,
    Method,
    Statistic,
)
from chipwatt.core.records import (
    AbsentInterface,
    DeviceWindow,
    Gap,
    PowerHistogram,
    Profile,
    Provenance,
    Records,
    SensorStatus,
    Throttle,
)
from chipwatt.v1 import types_pb2

GPU, CPU = DeviceId(DeviceKind.GPU, 0, 2**127 + 5), DeviceId(DeviceKind.CPU, 1)
GAP = Gap(CPU, Domain.DRAM, Statistic.ENERGY, 10**18, 5, 7, 3, 4, GapReason.AGENT_DOWN)
SENSOR = SensorStatus(
    GPU, Domain.BOARD, Statistic.INSTANT, Interface.NVML, Method.COUNTER, True, 1, 2, 3, 4, 700_000
)
ABSENT = AbsentInterface(Interface.HSMP, AbsentReason.PERMISSION_DENIED)
WINDOW = DeviceWindow(
    GPU, Domain.BOARD, Statistic.ENERGY, 10**18, 5, 10**10, 9, 100, 1000,
    Profile(histogram=PowerHistogram(6, 400, 3, (1, 2, 3))),
    Throttle(), Provenance(Interface.NVML, Method.COUNTER), 0,
)  # fmt: skip
RECORDS = Records(windows=(WINDOW, WINDOW), gaps=(GAP,), sensors=(SENSOR,), absent=(ABSENT,))


def parsed() -> types_pb2.Payload:
    message = types_pb2.Payload()
    message.ParseFromString(codec.encode_records(RECORDS))
    return message


def section(message: types_pb2.Payload, kind: SectionKind) -> types_pb2.Section:
    return next(part for part in message.sections if part.kind == int(kind))


def data(message: types_pb2.Payload, kind: SectionKind, name: str) -> types_pb2.Column:
    (spec,) = (s for s in COLUMNS[kind] if s.name == name)
    return next(c for c in section(message, kind).columns if c.id == spec.id)


def test_a_payload_from_before_statistics_says_what_it_meant() -> None:
    """An agent's spool outlives an upgrade of the collector."""
    gauge = replace(WINDOW.provenance, method=Method.INTEGRATED)
    average = replace(gauge, averaging_us=1)
    made = (WINDOW, replace(WINDOW, provenance=gauge), replace(WINDOW, provenance=average))
    meant = tuple(map(replace_statistic, made, Statistic))
    sensors = (
        replace(SENSOR, method=Method.COUNTER, averaging_us=0),
        replace(SENSOR, method=Method.INTEGRATED, averaging_us=0),
        replace(SENSOR, method=Method.INTEGRATED, averaging_us=9),
    )
    records = Records(windows=made, gaps=(GAP,), sensors=sensors)
    message = types_pb2.Payload.FromString(codec.encode_records(records))
    for kind in (SectionKind.DEVICE_WINDOW, SectionKind.GAP, SectionKind.SENSOR):
        columns = section(message, kind).columns
        columns.remove(data(message, kind, "statistic"))
    found = codec.records_from_tables(codec.decode_tables(message.SerializeToString()))
    assert found == Records(
        windows=meant, gaps=(GAP,), sensors=tuple(map(replace_statistic, sensors, Statistic))
    )


def replace_statistic(record: Any, statistic: Statistic) -> Any:
    return replace(record, statistic=statistic)


def shorten(message: types_pb2.Payload) -> None:
    column = data(message, SectionKind.DEVICE_WINDOW, "epoch")
    column.data = column.data[:-1]


def lengthen(message: types_pb2.Payload) -> None:
    data(message, SectionKind.GAP, "lower_uj").data += bytes(8)


def fewer_rows(message: types_pb2.Payload) -> None:
    section(message, SectionKind.DEVICE_WINDOW).rows = 1


def many_rows(message: types_pb2.Payload) -> None:
    section(message, SectionKind.ABSENT).rows = MAX_ROWS + 1


def many_columns(message: types_pb2.Payload) -> None:
    for _ in range(257):
        section(message, SectionKind.ABSENT).columns.add(id=99)


def drop_column(message: types_pb2.Payload) -> None:
    del section(message, SectionKind.SENSOR).columns[0]


def section_twice(message: types_pb2.Payload) -> None:
    message.sections.append(section(message, SectionKind.GAP))


def many_sections(message: types_pb2.Payload) -> None:
    for _ in range(codec.MAX_SECTIONS):
        message.sections.add(kind=types_pb2.SECTION_KIND_UNSPECIFIED)


def bad_enum(message: types_pb2.Payload) -> None:
    data(message, SectionKind.GAP, "reason").data = b"\x09"


def zero_enum(message: types_pb2.Payload) -> None:
    data(message, SectionKind.DEVICE_WINDOW, "domain").data = b"\x00\x01"


def strange_power(message: types_pb2.Payload) -> None:
    data(message, SectionKind.DEVICE_WINDOW, "max_mw").data = b"\xfe\xff\xff\xff" * 2


def early(message: types_pb2.Payload) -> None:
    data(message, SectionKind.GAP, "start_unix_ns").data = bytes(8)


def device_beyond(message: types_pb2.Payload) -> None:
    data(message, SectionKind.SENSOR, "device").data = b"\x02\x00"


def two_names(message: types_pb2.Payload) -> None:
    data(message, SectionKind.DEVICE, "ordinal").data = b"\x01\x00\x01\x00"


def no_devices(message: types_pb2.Payload) -> None:
    del message.sections[0]


def bucket_missing(message: types_pb2.Payload) -> None:
    column = data(message, SectionKind.DEVICE_WINDOW, "hist_counts_ms")
    column.data = column.data[:-4]


def bucket_bytes(message: types_pb2.Payload) -> None:
    data(message, SectionKind.DEVICE_WINDOW, "hist_counts_ms").data += b"\x00"


def buckets_many(message: types_pb2.Payload) -> None:
    data(message, SectionKind.DEVICE_WINDOW, "hist_buckets").data = b"\xa1\x00"
    data(message, SectionKind.DEVICE_WINDOW, "hist_counts_ms").data = bytes(4 * 161)


def energy_above_cumulative(message: types_pb2.Payload) -> None:
    column = data(message, SectionKind.DEVICE_WINDOW, "energy_uj")
    column.data = np.array([1001, 100], dtype="<u8").tobytes()


def bounds_upside_down(message: types_pb2.Payload) -> None:
    data(message, SectionKind.GAP, "lower_uj").data = np.array([5], dtype="<u8").tobytes()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (shorten, r"DEVICE_WINDOW\.epoch: 7 bytes for 2 rows"),
        (lengthen, r"GAP\.lower_uj: 16 bytes for 1 rows"),
        (fewer_rows, r"DEVICE_WINDOW\.\w+: \d+ bytes for 1 rows"),
        (many_rows, "ABSENT: 4097 rows"),
        (many_columns, "ABSENT: 1 rows, 259 columns"),
        (drop_column, r"SENSOR\.device: the column is missing"),
        (section_twice, "GAP: the section comes twice"),
        (many_sections, r"\d+ sections, at most 16"),
        (bad_enum, r"GAP\.reason: 9\.\.9"),
        (zero_enum, r"DEVICE_WINDOW\.domain: 0\.\.1"),
        (strange_power, r"DEVICE_WINDOW\.max_mw"),
        (early, r"GAP\.start_unix_ns"),
        (device_beyond, r"SENSOR\.device: points past the 2 devices"),
        (two_names, r"DEVICE\.ordinal: not 0 beside a uid"),
        (no_devices, "points past the 0 devices"),
        (bucket_missing, r"DEVICE_WINDOW\.hist_counts_ms: 5 values, 6 expected"),
        (bucket_bytes, r"DEVICE_WINDOW\.hist_counts_ms: 25 bytes"),
        (buckets_many, r"DEVICE_WINDOW\.hist_buckets"),
        (energy_above_cumulative, r"DEVICE_WINDOW\.energy_uj: larger than the cumulative"),
        (bounds_upside_down, r"GAP\.lower_uj: above the upper bound"),
    ],
)
def test_spoilt_payload_is_refused_with_its_place(
    spoil: Callable[[types_pb2.Payload], None], told: str
) -> None:
    message = parsed()
    spoil(message)
    with pytest.raises(InvalidPayload, match=told):
        codec.decode_tables(message.SerializeToString())


def test_what_we_do_not_know_is_dropped() -> None:
    message = parsed()
    section(message, SectionKind.GAP).columns.add(id=200, data=b"new")
    message.sections.add(kind=types_pb2.SectionKind.ValueType(99), rows=5)
    assert codec.records_from_tables(codec.decode_tables(message.SerializeToString())) == RECORDS


def test_payload_above_the_limit_is_refused_unparsed() -> None:
    with pytest.raises(InvalidPayload, match="at most 262144"):
        codec.decode_tables(bytes(wire.MAX_PAYLOAD_BYTES + 1))
