"""A sensor that no longer reports is never shown as if it did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chipwatt.cli.live import Seen, device_table, host_table, plain_line
from chipwatt.cli.silence import silent_ns
from chipwatt.core.records import DeviceWindow
from unit.cli.test_live import START_NS, second, shown
from unit.cli.test_tally import NS, window


def short(index: int, start_s: int) -> DeviceWindow:
    """Two seconds of device ``index``."""
    return replace(
        window(index, 100_000),
        start_unix_ns=START_NS + start_s * NS,
        start_mono_ns=start_s * NS,
        duration_ns=2 * NS,
    )


def one_of_two_dies() -> Seen:
    """Device 0 ends at 4 s, device 1 and the host's sum go on until 20 s."""
    seen = Seen()
    mine = [short(0, start) for start in (0, 2)]
    seen.take(mine + [short(1, start) for start in range(0, 20, 2)], map(second, range(20)))
    return seen


def test_a_dead_device_has_no_power_now() -> None:
    seen = one_of_two_dies()
    table = device_table(seen, 200)
    dead, alive = table.rows
    assert dead[1] == "-"
    assert dead[-1].startswith("no data for 16.0 s")
    assert table.faint == {0}
    assert alive[1] == "100 W"
    assert "no data" not in alive[-1]
    assert seen.problems() == ["gpu/0 board: no data for 16.0 s"]
    assert "gpu/0 board: no data for 16.0 s" in plain_line(seen, NS)
    assert "no data for 16.0 s" in shown(seen)


def test_a_host_that_is_silent_as_a_whole_has_no_power_now() -> None:
    seen = one_of_two_dies()
    seen.now_unix_ns = START_NS + 50 * NS
    assert all(row[1] == "no data for 30.0 s" for row in host_table(seen).rows)
    assert "no data for 30.0 s from any sensor" in plain_line(seen, NS)
    assert len(seen.problems()) == 3


def test_what_comes_as_it_should_is_no_problem() -> None:
    seen = Seen()
    for end_s in range(2, 20):
        seen.take([short(i, end_s - 2) for i in (0, 1) if end_s % 2 == 0], [second(end_s - 1)])
        seen.now_unix_ns = START_NS + end_s * NS + 2 * NS
        assert seen.problems() == []


@pytest.mark.parametrize(("refresh_us", "silent"), [(0, True), (10_000_000, False)])
def test_a_slow_sensor_may_take_its_time(refresh_us: int, *, silent: bool) -> None:
    newest = short(0, 0)
    source = replace(newest.provenance, refresh_us=refresh_us)
    newest = replace(newest, provenance=source)
    assert bool(silent_ns(newest, START_NS + 15 * NS, 0)) is silent
