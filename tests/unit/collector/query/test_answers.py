"""What the collector writes and the client reads are the same values."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.client import messages
from chipwatt.collector.query import answers
from chipwatt.collector.store.contract import HostRow
from chipwatt.core.codec import gap_from_row, sensor_from_row, window_from_row
from chipwatt.core.columns import COLUMNS, SectionKind
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Flag
from chipwatt.core.records import DeviceWindow, Gap, HostSecond, PowerHistogram, SensorStatus
from chipwatt.core.tables import row_values, table_from_rows
from chipwatt.v1 import query_pb2
from fakes.telemetry_records import a_host

ALL_FLAGS = sum(Flag)


@st.composite
def rows_of(draw: st.DrawFn, kind: SectionKind) -> dict[str, Any]:
    """Draw any row that the column table allows."""
    row: dict[str, Any] = {}
    for spec in COLUMNS[kind]:
        if spec.ragged_by:
            buckets = row[spec.ragged_by]
            numbers = st.integers(spec.low, spec.high)
            row[spec.name] = tuple(draw(st.lists(numbers, min_size=buckets, max_size=buckets)))
            continue
        high = min(spec.high, 5) if spec.name == "hist_buckets" else spec.high
        if spec.name == "flags":
            high = ALL_FLAGS
        high = min(high, spec.absent_value - 1) if spec.absent else high
        values = st.integers(spec.low, high)
        row[spec.name] = draw(st.none() | values if spec.absent else values)
    return row_values(table_from_rows(kind, [row]), 0)


devices = st.one_of(
    st.builds(DeviceId, st.sampled_from(DeviceKind), st.integers(0, 65_535)),
    st.builds(
        DeviceId, st.sampled_from(DeviceKind), st.just(0), st.integers(1 << 64, (1 << 128) - 1)
    ),
)


@given(rows_of(SectionKind.DEVICE_WINDOW), devices)
def test_windows(row: dict[str, Any], device: DeviceId) -> None:
    window = window_from_row(row, device)
    assert messages.window(answers.window_message(window)) == window


@given(rows_of(SectionKind.HOST_SECOND))
def test_host_seconds(row: dict[str, Any]) -> None:
    second = HostSecond(**row)
    assert messages.host_second(answers.host_second_message(second)) == second


@given(rows_of(SectionKind.GAP), devices)
def test_gaps(row: dict[str, Any], device: DeviceId) -> None:
    gap = gap_from_row(row, device)
    assert messages.gap(answers.gap_message(gap)) == gap


@given(rows_of(SectionKind.SENSOR), devices)
def test_sensors(row: dict[str, Any], device: DeviceId) -> None:
    sensor = sensor_from_row(row, device)
    (message,) = answers.device_message(device, [sensor]).sensors
    assert messages.sensor(message, device) == sensor


@given(st.integers(-(1 << 62), 1 << 62), st.booleans(), st.text(max_size=20))
def test_hosts(offset_ns: int, connected: bool, name: str) -> None:
    row = HostRow(a_host(1), "", 5, 6, 1_002_003, offset_ns)
    info = messages.host(
        answers.host_message(row, name, 4, last_seen_unix_ns=9, connected=connected)
    )
    assert info.name == (name or a_host(1).hex())
    assert (info.clock_offset_ns, info.last_seen_unix_ns, info.devices) == (offset_ns, 9, 4)
    assert (info.connected, info.agent_version, info.first_seen_unix_ns) == (
        connected,
        1_002_003,
        5,
    )


def test_every_field_of_a_record_is_in_its_message() -> None:
    """A new field of a record must come with a field of the message."""
    named: dict[Any, Any] = {
        DeviceWindow: query_pb2.DeviceWindow,
        HostSecond: query_pb2.HostSecond,
        Gap: query_pb2.Gap,
        SensorStatus: query_pb2.Sensor,
        PowerHistogram: query_pb2.PowerHistogram,
    }
    nested = {"device", "profile", "throttle", "provenance"}
    for record, message in named.items():
        wire = {field.name for field in message.DESCRIPTOR.fields}
        assert {field.name for field in fields(record)} - nested <= wire


def test_an_unknown_flag_of_a_newer_collector_is_left_out() -> None:
    message = answers.host_second_message(
        HostSecond(0, 0, 1, 0, 0, 0, 0, None, None, None, None, None, 0, 0, int(Flag.ROOT))
    )
    message.flags.append("NOT_YET_INVENTED")
    assert messages.host_second(message).flags == Flag.ROOT
