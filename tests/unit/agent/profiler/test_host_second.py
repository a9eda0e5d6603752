"""Peaks of sums are taken where the fast samples are."""

from __future__ import annotations

import pytest

from chipwatt.agent.profiler.host_second import kind_of
from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.core.model import DeviceKind, Domain, Flag
from chipwatt.core.records import HostSecond
from fakes.books import seconds, sensor
from fakes.chip import Chip, poll

MS = 1_000_000
S = 1_000 * MS
UNIX_NS = 1_700_000_000 * S
BUSY_FIRST = [(200 * MS, 300_000), (200 * MS, 100_000)]
IDLE_FIRST = BUSY_FIRST[::-1]


def bins_of(chips: list[tuple[Sensor, Chip]], period_ns: int = MS) -> list[HostSecond]:
    reducer = Reducer([source for source, _ in chips], mono_ns=0, unix_ns=UNIX_NS)
    for position, (_, chip) in enumerate(chips):
        reducer.measured(
            position,
            refresh_ns=chip.refresh_ns,
            averaging_ns=0,
            period_ns=period_ns,
            rate_reduced=False,
        )

        def observe(at_ns: int, value: int, position: int = position) -> None:
            reducer.observe(position, at_ns, value)

        poll(chip, observe, 0, 4 * S + 1, period_ns)
    return seconds(reducer.finish(4 * S))


def test_peaks_that_alternate_do_not_add_up() -> None:
    bins = bins_of([(sensor(0), Chip(BUSY_FIRST)), (sensor(1), Chip(IDLE_FIRST))])
    assert [b.cpu_peak_mw for b in bins] == [pytest.approx(400_000, rel=0.001)] * 4
    assert [b.cpu_mj for b in bins] == [400_000] * 4


def test_peaks_that_coincide_add_up_across_kinds() -> None:
    gpu = sensor(0, kind=DeviceKind.GPU)
    bins = bins_of([(sensor(0), Chip(BUSY_FIRST)), (gpu, Chip(BUSY_FIRST))])
    for found in bins:
        assert found.cpu_peak_mw == found.gpu_peak_mw == pytest.approx(300_000, rel=0.001)
        assert found.total_peak_mw == pytest.approx(600_000, rel=0.001)
        assert found.memory_peak_mw is found.other_peak_mw is None
        assert found.heard == found.expected == 2
        assert found.flags == 0


def test_peaks_that_alternate_across_kinds_do_not_add_up() -> None:
    gpu = sensor(0, kind=DeviceKind.GPU)
    for found in bins_of([(sensor(0), Chip(BUSY_FIRST)), (gpu, Chip(IDLE_FIRST))]):
        assert found.cpu_peak_mw == found.gpu_peak_mw == pytest.approx(300_000, rel=0.001)
        assert found.total_peak_mw == pytest.approx(400_000, rel=0.001)


def test_slow_sensor_brings_in_what_it_can_tell_and_says_so() -> None:
    slow = Chip([(S, 200_000)], refresh_ns=100 * MS, jitter=0.05)
    bins = bins_of([(sensor(0), slow)], period_ns=50 * MS)
    for found in bins:
        assert found.flags & Flag.PEAK_BEYOND_SENSOR
        assert found.cpu_peak_mw == pytest.approx(200_000, rel=0.13)


def test_millijoules_never_drift() -> None:
    odd = Chip([(S, 333_333)], refresh_ns=7 * MS)
    bins = bins_of([(sensor(0), odd)], period_ns=7 * MS)
    total_uj = odd.energy_uj(odd.updated_ns(3997 * MS))
    assert sum(b.cpu_mj for b in bins) == total_uj // 1000


@pytest.mark.parametrize(
    ("kind", "domain", "wanted"),
    [
        (DeviceKind.CPU, Domain.PACKAGE, "cpu"),
        (DeviceKind.CPU, Domain.DRAM, "memory"),
        (DeviceKind.GPU, Domain.BOARD, "gpu"),
        (DeviceKind.GPU, Domain.MEMORY, "memory"),
        (DeviceKind.MEMORY, Domain.MODULE, "memory"),
        (DeviceKind.MODULE, Domain.MODULE, "other"),
        (DeviceKind.BOARD, Domain.PSYS, "other"),
    ],
)
def test_kind_of_a_root_domain(kind: DeviceKind, domain: Domain, wanted: str) -> None:
    plain = sensor(kind=kind)
    assert (
        kind_of(Sensor(plain.device, domain, plain.interface, plain.quantity, root=True)) == wanted
    )
