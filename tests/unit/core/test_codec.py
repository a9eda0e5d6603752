from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.core import codec, wire
from chipwatt.core.columns import COLUMNS, MAX_BUCKETS, ColumnSpec, SectionKind
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
from chipwatt.core.tables import Table, check_table, row_values, table_from_rows

DEVICES = st.builds(DeviceId, st.sampled_from(DeviceKind), st.integers(0, 65_535)) | st.builds(
    DeviceId, st.sampled_from(DeviceKind), uid=st.integers(1, 2**128 - 1)
)


def of_column(spec: ColumnSpec) -> st.SearchStrategy[int | None]:
    """Return what a column can hold, its ends included."""
    values = st.integers(spec.low, spec.high) | st.sampled_from([spec.low, spec.high])
    return values | st.none() if spec.absent else values


def column(kind: SectionKind, name: str) -> st.SearchStrategy[Any]:
    (spec,) = (s for s in COLUMNS[kind] if s.name == name)
    return of_column(spec)


@st.composite
def windows(draw: st.DrawFn) -> DeviceWindow:
    def value(name: str) -> Any:
        return draw(column(SectionKind.DEVICE_WINDOW, name))

    energy_uj, more_uj = value("energy_uj"), value("cumulative_uj")
    plain = [n for n in Profile.__dataclass_fields__ if n != "histogram"]
    counts = st.lists(st.integers(0, 2**32 - 1), max_size=MAX_BUCKETS)
    return DeviceWindow(
        device=draw(DEVICES),
        domain=draw(st.sampled_from(Domain)),
        statistic=draw(st.sampled_from(Statistic)),
        start_unix_ns=value("start_unix_ns"),
        start_mono_ns=value("start_mono_ns"),
        duration_ns=value("duration_ns"),
        epoch=value("epoch"),
        energy_uj=min(energy_uj, more_uj),
        cumulative_uj=max(energy_uj, more_uj),
        profile=Profile(
            histogram=PowerHistogram(
                value("hist_scale"),
                value("hist_offset"),
                value("hist_zero_ms"),
                tuple(draw(counts)),
            ),
            **{name: value(name) for name in plain},
        ),
        throttle=Throttle(
            value("limit_mw"),
            *(value(f"throttled_{n}_ms") for n in ("power", "thermal", "brake", "other")),
        ),
        provenance=Provenance(
            draw(st.sampled_from(Interface)),
            draw(st.sampled_from(Method)),
            *(
                value(name)
                for name in list(Provenance.__dataclass_fields__)
                if name not in {"interface", "method"}
            ),
        ),
        flags=value("flags"),
    )


@given(st.lists(windows(), max_size=4))
@settings(max_examples=50, deadline=None)
def test_windows_come_back(listed: list[DeviceWindow]) -> None:
    records = Records(windows=tuple(listed))
    assert codec.records_from_tables(codec.decode_tables(codec.encode_records(records))) == records


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_plain_sections_come_back(data: st.DataObject) -> None:
    for kind in (SectionKind.HOST_SECOND, SectionKind.AGENT):
        row = st.fixed_dictionaries({spec.name: of_column(spec) for spec in COLUMNS[kind]})
        rows = data.draw(st.lists(row, max_size=4))
        table = table_from_rows(kind, rows)
        decoded = codec.decode_tables(codec.encode_tables({kind: table}))[kind]
        assert [row_values(decoded, index) for index in range(decoded.rows)] == rows


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


def test_every_section_of_a_payload_comes_back() -> None:
    payload = codec.encode_records(RECORDS)
    assert codec.records_from_tables(codec.decode_tables(payload)) == RECORDS
    assert codec.encode_records(RECORDS) == payload
    assert len(wire.digest(payload)) == 16


def test_no_records_are_an_empty_payload() -> None:
    assert codec.encode_records(Records()) == b""
    assert codec.records_from_tables(codec.decode_tables(b"")) == Records()


def test_what_a_column_cannot_hold_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidPayload, match=r"DEVICE_WINDOW\.energy_uj"):
        codec.encode_records(Records(windows=(replace(WINDOW, energy_uj=-1),)))
    profile = replace(WINDOW.profile, mean_mw=4_000_000_001)
    with pytest.raises(InvalidPayload, match=r"DEVICE_WINDOW\.mean_mw"):
        codec.encode_records(Records(windows=(replace(WINDOW, profile=profile),)))


@given(st.binary(max_size=200))
def test_rubbish_is_refused_or_harmless(rubbish: bytes) -> None:
    try:
        tables = codec.decode_tables(rubbish)
    except InvalidPayload:
        return
    for table in tables.values():
        check_table(table)


@given(st.data())
def test_a_flipped_byte_never_passes_a_range(data_of: st.DataObject) -> None:
    payload = bytearray(codec.encode_records(RECORDS))
    payload[data_of.draw(st.integers(0, len(payload) - 1))] ^= data_of.draw(st.integers(1, 255))
    try:
        tables = codec.decode_tables(bytes(payload))
    except InvalidPayload:
        return
    for kind, table in tables.items():
        assert isinstance(table, Table)
        for spec in COLUMNS[kind]:
            values = table[spec.name].tolist()
            known = [v for v in values if not (spec.absent and v == spec.absent_value)]
            assert all(spec.low <= v <= spec.high for v in known)
    codec.records_from_tables(tables)
