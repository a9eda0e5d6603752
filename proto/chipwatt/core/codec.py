"""Records to bytes and back: the only file that knows both our types and protobuf.

``records → tables → payload`` on the agent, ``payload → tables`` on the
collector, which keeps working on whole columns. A payload is checked
completely before anything of it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

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
    AgentHealth,
    DeviceWindow,
    Gap,
    HostSecond,
    PowerHistogram,
    Profile,
    Provenance,
    Records,
    SensorStatus,
    Throttle,
)
from chipwatt.core.tables import (
    FILLED,
    Table,
    Tables,
    check_table,
    check_tables,
    filled,
    row_values,
    table_from_rows,
)
from chipwatt.core.wire import MAX_PAYLOAD_BYTES
from chipwatt.core.workload_rows import workload_from_row, workload_row
from chipwatt.v1 import types_pb2

MAX_SECTIONS = 16
_LOW_64 = (1 << 64) - 1
_PROFILE_PLAIN = tuple(f.name for f in fields(Profile) if f.name != "histogram")
_THROTTLE = {
    "limit_mw": "limit_mw",
    "power_ms": "throttled_power_ms",
    "thermal_ms": "throttled_thermal_ms",
    "brake_ms": "throttled_brake_ms",
    "other_ms": "throttled_other_ms",
}
_PROVENANCE = tuple(f.name for f in fields(Provenance))


def encode_records(records: Records) -> bytes:
    """Serialise records as a payload that names its own devices."""
    return encode_tables(tables_from_records(records))


def encode_tables(tables: Tables) -> bytes:
    """Serialise tables as a payload; sections and columns in the order of their ids."""
    sections = []
    for kind in sorted(tables):
        table = tables[kind]
        columns = [
            types_pb2.Column(id=spec.id, data=table[spec.name].astype(spec.dtype).tobytes())
            for spec in COLUMNS[kind]
        ]
        sections.append(
            types_pb2.Section(
                kind=types_pb2.SectionKind.ValueType(kind), rows=table.rows, columns=columns
            )
        )
    return types_pb2.Payload(sections=sections).SerializeToString()


def decode_tables(payload: bytes) -> dict[SectionKind, Table]:
    """Parse and check a payload; sections and columns that we do not know are dropped.

    Raises InvalidPayload with the place of the first fault.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise InvalidPayload(f"payload of {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES}")
    message = types_pb2.Payload()
    try:
        message.ParseFromString(payload)
    except DecodeError:
        raise InvalidPayload("payload is not a chipwatt.v1.Payload") from None
    if len(message.sections) > MAX_SECTIONS:
        raise InvalidPayload(f"{len(message.sections)} sections, at most {MAX_SECTIONS}")
    tables: dict[SectionKind, Table] = {}
    for section in message.sections:
        if section.kind not in SectionKind._value2member_map_:
            continue
        kind = SectionKind(section.kind)
        if kind in tables:
            raise InvalidPayload(f"{kind.name}: the section comes twice")
        tables[kind] = _decode_section(kind, section)
    check_tables(tables)
    return tables


def _decode_section(kind: SectionKind, section: types_pb2.Section) -> Table:
    if section.rows > MAX_ROWS or len(section.columns) > 256:
        raise InvalidPayload(f"{kind.name}: {section.rows} rows, {len(section.columns)} columns")
    raw = {column.id: column.data for column in section.columns}
    columns = {}
    is_old = False
    for spec in COLUMNS[kind]:
        data = raw.get(spec.id)
        if data is None and spec.name == FILLED:
            is_old = True
            continue
        if data is None:
            raise InvalidPayload(f"{kind.name}.{spec.name}: the column is missing")
        if len(data) % spec.width or (
            not spec.ragged_by and len(data) != section.rows * spec.width
        ):
            raise InvalidPayload(
                f"{kind.name}.{spec.name}: {len(data)} bytes for {section.rows} rows"
            )
        columns[spec.name] = np.frombuffer(data, dtype=spec.dtype)
    if is_old:
        columns[FILLED] = filled(section.rows, columns)
    table = Table(kind, section.rows, columns)
    check_table(table)
    return table


def tables_from_records(records: Records) -> dict[SectionKind, Table]:
    """Lay records out in columns; sections without rows are left out."""
    devices: dict[DeviceId, int] = {}
    owned: tuple[DeviceWindow | Gap | SensorStatus, ...] = (
        *records.windows,
        *records.gaps,
        *records.sensors,
    )
    for record in owned:
        devices.setdefault(record.device, len(devices))
    rows: dict[SectionKind, Sequence[Mapping[str, Any]]] = {
        SectionKind.DEVICE: [_device_row(device) for device in devices],
        SectionKind.HOST_SECOND: [_plain_row(second) for second in records.host_seconds],
        SectionKind.DEVICE_WINDOW: [_window_row(window, devices) for window in records.windows],
        SectionKind.GAP: [_owned_row(gap, devices) for gap in records.gaps],
        SectionKind.SENSOR: [_owned_row(sensor, devices) for sensor in records.sensors],
        SectionKind.ABSENT: [_plain_row(absent) for absent in records.absent],
        SectionKind.AGENT: [_plain_row(health) for health in records.agent],
        SectionKind.WORKLOAD: [workload_row(window) for window in records.workloads],
    }
    return {kind: table_from_rows(kind, of_kind) for kind, of_kind in rows.items() if of_kind}


def records_from_tables(tables: Tables) -> Records:
    """Read records out of checked tables; for queries, tests and merging, not for ingest."""
    devices = [
        DeviceId(DeviceKind(row["kind"]), row["ordinal"], (row["uid_high"] << 64) | row["uid_low"])
        for row in _rows(tables, SectionKind.DEVICE)
    ]
    return Records(
        windows=tuple(
            window_from_row(row, devices[row["device"]])
            for row in _rows(tables, SectionKind.DEVICE_WINDOW)
        ),
        host_seconds=tuple(HostSecond(**row) for row in _rows(tables, SectionKind.HOST_SECOND)),
        gaps=tuple(
            gap_from_row(row, devices[row["device"]]) for row in _rows(tables, SectionKind.GAP)
        ),
        sensors=tuple(
            sensor_from_row(row, devices[row["device"]])
            for row in _rows(tables, SectionKind.SENSOR)
        ),
        absent=tuple(
            AbsentInterface(Interface(row["interface"]), AbsentReason(row["reason"]))
            for row in _rows(tables, SectionKind.ABSENT)
        ),
        agent=tuple(AgentHealth(**row) for row in _rows(tables, SectionKind.AGENT)),
        workloads=tuple(workload_from_row(row) for row in _rows(tables, SectionKind.WORKLOAD)),
    )


def window_from_row(row: Mapping[str, Any], device: DeviceId) -> DeviceWindow:
    """Build a window from one row of a DEVICE_WINDOW table."""
    histogram = PowerHistogram(
        row["hist_scale"], row["hist_offset"], row["hist_zero_ms"], row["hist_counts_ms"]
    )
    provenance = {name: row[name] for name in _PROVENANCE}
    provenance["interface"] = Interface(row["interface"])
    provenance["method"] = Method(row["method"])
    return DeviceWindow(
        device=device,
        domain=Domain(row["domain"]),
        statistic=Statistic(row["statistic"]),
        start_unix_ns=row["start_unix_ns"],
        start_mono_ns=row["start_mono_ns"],
        duration_ns=row["duration_ns"],
        epoch=row["epoch"],
        energy_uj=row["energy_uj"],
        cumulative_uj=row["cumulative_uj"],
        profile=Profile(histogram=histogram, **{name: row[name] for name in _PROFILE_PLAIN}),
        throttle=Throttle(**{field: row[column] for field, column in _THROTTLE.items()}),
        provenance=Provenance(**provenance),
        flags=row["flags"],
    )


def gap_from_row(row: Mapping[str, Any], device: DeviceId) -> Gap:
    """Build a gap from one row of a GAP table."""
    values = dict(row)
    values.update(
        device=device,
        domain=Domain(row["domain"]),
        statistic=Statistic(row["statistic"]),
        reason=GapReason(row["reason"]),
    )
    return Gap(**values)


def sensor_from_row(row: Mapping[str, Any], device: DeviceId) -> SensorStatus:
    """Build a sensor status from one row of a SENSOR table."""
    values = dict(row)
    values.update(
        device=device,
        domain=Domain(row["domain"]),
        statistic=Statistic(row["statistic"]),
        interface=Interface(row["interface"]),
        method=Method(row["method"]),
        root=bool(row["root"]),
    )
    return SensorStatus(**values)


def _rows(tables: Tables, kind: SectionKind) -> list[dict[str, Any]]:
    table = tables.get(kind)
    return [] if table is None else [row_values(table, index) for index in range(table.rows)]


def _device_row(device: DeviceId) -> dict[str, int]:
    return {
        "kind": device.kind,
        "ordinal": device.ordinal,
        "uid_high": device.uid >> 64,
        "uid_low": device.uid & _LOW_64,
    }


def _plain_row(record: Any) -> dict[str, Any]:
    return {f.name: getattr(record, f.name) for f in fields(record)}


def _owned_row(record: Gap | SensorStatus, devices: Mapping[DeviceId, int]) -> dict[str, Any]:
    return {**_plain_row(record), "device": devices[record.device]}


def _window_row(window: DeviceWindow, devices: Mapping[DeviceId, int]) -> dict[str, Any]:
    row = _owned_row_of_window(window, devices)
    profile, histogram = window.profile, window.profile.histogram
    row.update({name: getattr(profile, name) for name in _PROFILE_PLAIN})
    row.update({column: getattr(window.throttle, name) for name, column in _THROTTLE.items()})
    row.update({name: getattr(window.provenance, name) for name in _PROVENANCE})
    row.update(
        hist_scale=histogram.scale,
        hist_offset=histogram.offset,
        hist_zero_ms=histogram.zero_ms,
        hist_buckets=len(histogram.counts_ms),
        hist_counts_ms=histogram.counts_ms,
    )
    return row


def _owned_row_of_window(window: DeviceWindow, devices: Mapping[DeviceId, int]) -> dict[str, Any]:
    return {
        "device": devices[window.device],
        "domain": window.domain,
        "statistic": window.statistic,
        "start_unix_ns": window.start_unix_ns,
        "start_mono_ns": window.start_mono_ns,
        "duration_ns": window.duration_ns,
        "epoch": window.epoch,
        "energy_uj": window.energy_uj,
        "cumulative_uj": window.cumulative_uj,
        "flags": window.flags,
    }
