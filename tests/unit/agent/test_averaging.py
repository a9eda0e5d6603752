from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chipwatt.agent.averaging import AveragingMeter
from chipwatt.agent.sensing.contract import Quantity, Reading, Sensor
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Interface
from fakes.firmware import Firmware
from fakes.scenario import NS_PER_S, square, steady

MS = 1_000_000
PERIOD_NS = 50 * MS
GAUGE = Sensor(
    DeviceId(DeviceKind.GPU, 0), Domain.BOARD, Interface.NVML, Quantity.POWER_MW, root=True
)
SENSORS = [
    replace(GAUGE, quantity=Quantity.ENERGY_UJ),
    GAUGE,
    replace(GAUGE, averaging_ns=NS_PER_S),
]
MOVING = Firmware(square(150_000, 600_000, 4 * NS_PER_S), averaging_ns=1500 * MS)


def sample(
    meter: AveragingMeter, chip: Firmware, from_s: int, to_s: int, sensors: int = 3
) -> list[int]:
    """Poll as a feed does, a piece of work after each; return when a window moved."""
    moved = []
    for at in range(from_s * NS_PER_S, to_s * NS_PER_S, PERIOD_NS):
        values = (chip.counter([at]), chip.instant([at]), chip.average([at]))
        if meter.heard is not None:
            readings = [Reading(n, at, seen[0][1]) for n, seen in enumerate(values)]
            meter.heard.append(readings[-sensors:])
        if meter.step(at, PERIOD_NS):
            moved.append(at)
    return moved


def meter_of(sensors: Sequence[Sensor] = SENSORS) -> AveragingMeter:
    meter = AveragingMeter(sensors, 3 * NS_PER_S)
    meter.opened(range(len(sensors)))
    return meter


def test_the_vendor_s_word_counts_until_a_measurement_says_otherwise() -> None:
    meter = meter_of()
    assert [meter.averaging_ns(slot) for slot in range(3)] == [0, 0, NS_PER_S]
    assert sample(meter, MOVING, 3, 12) == [], "too early"
    assert len(sample(meter, MOVING, 12, 40)) == 1
    found = meter.measured(2)
    assert found is not None
    assert abs(found.averaging_ns - 1500 * MS) <= found.uncertainty_ns <= 150 * MS
    assert meter.averaging_ns(2) == found.averaging_ns
    assert meter.averaging_ns(0) == 0


def test_a_steady_load_leaves_the_vendor_s_word() -> None:
    meter = meter_of()
    assert sample(meter, Firmware(steady(300_000), averaging_ns=1500 * MS), 3, 60) == []
    assert meter.measured(2) is None
    assert meter.averaging_ns(2) == NS_PER_S
    assert meter.is_open()
    assert meter.can_measure(2)


def test_nobody_listens_where_a_gauge_is_alone() -> None:
    elsewhere = replace(SENSORS[0], device=DeviceId(DeviceKind.GPU, 1))
    for sensors in ([SENSORS[2]], [SENSORS[0]], [SENSORS[2], elsewhere]):
        meter = meter_of(sensors)
        assert sample(meter, MOVING, 3, 20) == []
        assert meter.heard is None
        assert not meter.is_open()


def test_once_all_is_known_nobody_listens_for_a_while_and_memory_is_bounded() -> None:
    meter = meter_of([SENSORS[0], SENSORS[2]])
    two = Firmware(MOVING.load, averaging_ns=1000 * MS)
    longest = 0
    for second in range(3, 60):
        for at in range(second * NS_PER_S, (second + 1) * NS_PER_S, PERIOD_NS):
            if meter.heard is not None:
                values = two.counter([at])[0][1], two.average([at])[0][1]
                meter.heard.append([Reading(n, at, value) for n, value in enumerate(values)])
                longest = max(longest, len(meter.heard))
            meter.step(at, PERIOD_NS)
    assert meter.measured(1) is not None
    assert meter.heard is None
    assert longest <= 13 * NS_PER_S // PERIOD_NS


def test_what_was_heard_at_another_pace_or_before_a_reopening_is_forgotten() -> None:
    meter = meter_of()
    sample(meter, MOVING, 3, 6)
    assert meter.heard
    meter.step(6 * NS_PER_S, 2 * PERIOD_NS)
    assert meter.heard is not None
    assert not meter.heard
    meter.opened((2, 1, 0))
    assert meter.heard is None


def test_a_poll_that_lacks_a_sensor_is_left_out() -> None:
    meter = meter_of()
    sample(meter, MOVING, 3, 5)
    sample(meter, MOVING, 5, 6, sensors=2)
    assert len(sample(meter, MOVING, 6, 60)) == 1
