"""Which sensors are said to be stuck, and which are merely at rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.core.model import DeviceKind, Domain, Flag, Statistic
from chipwatt.core.records import DeviceWindow
from fakes.books import sensor

MS = 1_000_000
S = 1_000 * MS
UNIX_NS = 1_700_000_000 * S
CPU = sensor(0)
GPU = sensor(0, kind=DeviceKind.GPU)
OTHER_GPU = sensor(1, kind=DeviceKind.GPU)
GAUGE = replace(GPU, quantity=Quantity.POWER_MW, root=False)
Course = Callable[[int], int | None]
"""From ns to a reading; None: no answer."""


def moving(now_ns: int) -> int:
    return 10**9 + now_ns // 10  # 100 W


def standing(now_ns: int) -> int:  # noqa: ARG001
    return 10**9


def until(end_s: int, course: Course = moving) -> Course:
    return lambda now_ns: course(min(now_ns, end_s * S))


def windows_of(courses: Mapping[Sensor, Course], seconds: int) -> dict[Sensor, list[DeviceWindow]]:
    """Poll every 100 ms; return the windows of 10 s."""
    sensors = list(courses)
    reducer = Reducer(sensors, mono_ns=0, unix_ns=UNIX_NS)
    for position, each in enumerate(sensors):
        reducer.measured(
            position,
            refresh_ns=100 * MS,
            averaging_ns=each.averaging_ns,
            period_ns=100 * MS,
            rate_reduced=False,
        )
    for now_ns in range(0, seconds * S + 1, 100 * MS):
        for position, course in enumerate(courses.values()):
            value = course(now_ns)
            if value is not None:
                reducer.observe(position, now_ns, value)
        while reducer.step(now_ns):
            pass
    windows = [w for batch in reducer.finish(seconds * S) for w in batch.windows]
    return {
        each: [
            w
            for w in windows
            if (w.device, w.domain, w.statistic) == (each.device, each.domain, each.statistic)
        ]
        for each in sensors
    }


def suspects(courses: Mapping[Sensor, Course], seconds: int) -> dict[Sensor, list[int]]:
    """Return the windows, by number, that are SUSPECT."""
    return {
        each: sorted(w.start_mono_ns // (10 * S) for w in windows if w.flags & Flag.SUSPECT)
        for each, windows in windows_of(courses, seconds).items()
    }


def test_a_gpu_that_freezes_beside_a_cpu_is_suspect_up_to_its_last_change() -> None:
    found = suspects({CPU: moving, GPU: until(12)}, 40)
    assert found == {CPU: [], GPU: [1]}


def test_it_takes_more_than_five_seconds() -> None:
    assert suspects({CPU: moving, GPU: until(26)}, 30)[GPU] == []
    assert suspects({CPU: moving, GPU: until(23)}, 30)[GPU] == [2]


def test_a_device_that_never_moved_is_only_off() -> None:
    found = suspects({CPU: moving, GPU: standing}, 40)
    assert found == {CPU: [], GPU: []}


def test_its_sibling_of_the_same_interface_bears_witness_even_then() -> None:
    found = windows_of({OTHER_GPU: moving, GPU: standing}, 30)
    assert found[GPU] == []
    assert len(found[OTHER_GPU]) == 3


def test_a_part_that_may_rest_at_nothing_is_only_suspect() -> None:
    part = replace(GPU, domain=Domain.UNCORE, root=False)
    found = suspects({OTHER_GPU: moving, part: standing}, 30)
    assert found == {OTHER_GPU: [], part: [0, 1, 2]}


def test_a_counter_at_nothing_is_idle_beside_any_sibling() -> None:
    assert suspects({OTHER_GPU: moving, GPU: lambda _: 0}, 30)[GPU] == []


@pytest.mark.parametrize(
    "witness", [replace(CPU, flags=int(Flag.ESTIMATED)), replace(CPU, root=False)]
)
def test_a_model_and_a_part_bear_no_witness(witness: Sensor) -> None:
    assert suspects({witness: moving, GPU: until(12)}, 40)[GPU] == []


def test_a_part_is_not_judged_by_other_interfaces() -> None:
    """An integrated GPU at rest draws nothing while its package does."""
    part = replace(GPU, root=False)
    assert suspects({CPU: moving, part: until(12)}, 40)[part] == []


def test_all_that_stand_still_together_are_asleep() -> None:
    found = suspects({CPU: until(12), GPU: until(12)}, 40)
    assert found == {CPU: [], GPU: []}


def test_one_that_is_not_heard_is_not_stuck() -> None:
    found = suspects({CPU: moving, GPU: lambda at: moving(at) if at < 12 * S else None}, 40)
    assert found[GPU] == []


def test_a_gauge_at_rest_is_nothing_unusual() -> None:
    """100 W exactly, as the counter says, for two minutes."""
    assert suspects({GPU: moving, GAUGE: lambda _: 100_000}, 120)[GAUGE] == []


def test_a_gauge_near_its_counter_is_at_rest() -> None:
    assert suspects({GPU: moving, GAUGE: lambda _: 80_000}, 120)[GAUGE] == []


@pytest.mark.parametrize("level_mw", [0, 60_000, 300_000])
def test_a_gauge_that_its_own_counter_contradicts_is_suspect(level_mw: int) -> None:
    found = suspects({GPU: moving, GAUGE: lambda _: level_mw}, 120)
    assert found[GAUGE] == [6, 7, 8, 9, 10, 11]
    assert found[GPU] == []


def test_a_gauge_is_not_suspect_of_what_was_before_its_change() -> None:
    def stepped(now_ns: int) -> int:
        return 300_000 if now_ns < 100 * S else 100_000

    def energy(now_ns: int) -> int:
        return 10**9 + (3 * min(now_ns, 100 * S) + max(0, now_ns - 100 * S)) // 10

    assert suspects({GPU: energy, GAUGE: stepped}, 200)[GAUGE] == []


def test_a_gauge_of_another_domain_knows_nothing_of_the_counter() -> None:
    elsewhere = replace(GAUGE, device=OTHER_GPU.device)
    assert elsewhere.statistic is Statistic.INSTANT
    assert suspects({GPU: moving, elsewhere: lambda _: 300_000}, 120)[elsewhere] == []
