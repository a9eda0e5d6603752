"""Nothing that a source says of its sensors is more than the records can hold."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.admission import admit, admit_all, admit_throttle
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sensing.contract import Limits, Quantity, Sensor
from chipwatt.core import codec
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Interface
from chipwatt.core.records import Throttle

HEALTHY = Sensor(
    DeviceId(DeviceKind.CPU, 0), Domain.PACKAGE, Interface.RAPL_POWERCAP, Quantity.ENERGY_UJ, True
)
OTHER = Sensor(
    DeviceId(DeviceKind.GPU, 0, 7), Domain.BOARD, Interface.HWMON, Quantity.POWER_MW, True
)
START_UNIX_NS = 1_750_000_000 * NS_PER_S
EDGES = (-1, 0, 1, 2**16, 2**31 - 1, 2**32 - 1, 2**47, 2**63 - 16, 2**63 - 1, 2**64 - 1, 10**40)
ANYTHING = st.one_of(
    st.sampled_from(EDGES),
    st.integers(-(2**63), 2**64),
    st.text(max_size=5),
    st.none(),
    st.floats(),
)
NUMBERS = ("modulus_uj", "resolution_uj", "refresh_ns", "averaging_ns", "max_power_mw", "flags")


def encoded_windows(sensors: list[Sensor], throttle: Throttle) -> int:
    """Sample a second and a half of 100 W from every sensor; the windows that can be sent."""
    reducer = Reducer(sensors, mono_ns=0, unix_ns=START_UNIX_NS, window_ns=NS_PER_S)
    for now_ns in range(0, 1_500 * NS_PER_MS, 20 * NS_PER_MS):
        for position, sensor in enumerate(sensors):
            counter = sensor.quantity is Quantity.ENERGY_UJ
            reducer.observe(position, now_ns, now_ns // 10_000 if counter else 100_000)
            reducer.due(position)
            reducer.throttled(position, admit_throttle(throttle))
    records = reducer.finish(1_500 * NS_PER_MS)
    payloads = [codec.encode_records(each) for each in records]
    assert all(codec.decode_tables(payload) for payload in payloads)
    return sum(window.device == HEALTHY.device for each in records for window in each.windows)


@given(
    st.dictionaries(st.sampled_from(NUMBERS), ANYTHING, max_size=3),
    st.lists(ANYTHING, min_size=3, max_size=3),
    st.lists(ANYTHING, min_size=5, max_size=5),
)
def test_no_number_of_one_sensor_stops_another(
    told: dict[str, Any], limits: list[Any], throttle: list[Any]
) -> None:
    odd = replace(OTHER, **told, limits=Limits(*limits))
    admitted, usable = admit_all("odd", [HEALTHY, odd])
    assert usable == (0, 1)
    assert encoded_windows(list(admitted), Throttle(*throttle)) > 0


@given(ANYTHING)
def test_an_ordinal_that_no_column_holds_leaves_that_sensor_out(ordinal: Any) -> None:
    odd = replace(OTHER, device=DeviceId(DeviceKind.GPU, ordinal))
    admitted, usable = admit_all("odd", [odd, HEALTHY])
    holds = isinstance(ordinal, int) and 0 <= ordinal <= 65_535
    assert usable == ((0, 1) if holds else (1,))
    assert admitted[1] == HEALTHY
    assert holds or not admitted[0].root


@pytest.mark.parametrize(
    "odd",
    [
        {"device": "gpu/0"},
        {"device": DeviceId(DeviceKind.GPU, 0, 1 << 128)},
        {"device": DeviceId(9)},  # type: ignore[arg-type]
        {"domain": 77},
        {"interface": "hwmon"},
        {"quantity": 3},
    ],
)
def test_what_names_no_sensor_is_left_out_with_a_sentence(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is no (device|domain|interface|quantity)"):
        admit(replace(OTHER, **odd))


def test_what_can_be_true_is_not_touched() -> None:
    sensor = replace(
        OTHER,
        averaging_ns=NS_PER_S,
        max_power_mw=450_000,
        limits=Limits(100_000, 300_000, 250_000),
        contains=(HEALTHY.device,),
    )
    assert admit(sensor) == sensor
    throttle = Throttle(300_000, 1, 2, 3, 4)
    assert admit_throttle(throttle) == throttle
    assert admit_throttle(Throttle(*[-1] * len(fields(Throttle)))) == Throttle()
