"""What `up` has seen is counted once and shown with its warnings."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.cli.live import ESTIMATED, Seen, device_table, plain_line
from chipwatt.cli.screen import TableScreen
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Flag, Statistic
from chipwatt.core.records import DeviceWindow, HostSecond
from unit.cli.test_tally import NS, window

START_NS = 1_800_000_000 * NS


def second(index: int, cpu_mj: int = 5_000, gpu_mj: int = 0, flags: int = 0) -> HostSecond:
    return HostSecond(
        start_unix_ns=(1_800_000_000 + index) * NS,
        start_mono_ns=index * NS,
        duration_ns=NS,
        cpu_mj=cpu_mj,
        gpu_mj=gpu_mj,
        memory_mj=0,
        other_mj=0,
        cpu_peak_mw=6_000,
        gpu_peak_mw=None,
        memory_peak_mw=None,
        other_peak_mw=None,
        total_peak_mw=6_000,
        heard=1,
        expected=1,
        flags=flags,
    )


def windows(count: int, flags: Flag = Flag.ROOT) -> list[DeviceWindow]:
    return [replace(window(index, 100_000), flags=int(flags)) for index in range(count)]


def test_overlapping_answers_count_once() -> None:
    seen = Seen()
    made = windows(6)
    seen.take(made[:4], [second(0), second(1)])
    seen.take(made[2:], [second(1), second(2)])
    assert seen.host_seconds == 3
    assert sum(tally.windows for tally in seen.tallies.values()) == 6
    assert seen.energy_uj == 6 * 100_000 * 10_000


def test_three_sensors_of_a_board_are_three_rows_of_which_one_counts() -> None:
    counter = replace(window(0, 100_000), flags=int(Flag.ROOT))
    instant = replace(window(0, 110_000), statistic=Statistic.INSTANT, flags=0)
    average = replace(window(0, 90_000), statistic=Statistic.AVERAGE, flags=0)
    seen = Seen()
    seen.take([average, instant, counter], [])
    assert seen.energy_uj == counter.energy_uj
    names = [row[0] for row in device_table(seen, 200).rows]
    assert names == ["gpu/0 board", "  gpu/0 board instant", "  gpu/0 board average"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 30))
def test_looking_again_and_again_misses_nothing(steps: list[int], length_s: int) -> None:
    """Windows come when they end, of two devices in turn; each look asks from where it must."""
    made = [
        replace(
            each,
            start_unix_ns=START_NS + index // 2 * length_s * NS,
            start_mono_ns=index // 2 * length_s * NS,
            duration_ns=length_s * NS,
        )
        for index, each in enumerate(windows(40))
    ]
    seen, come = Seen(), 0
    for step in [*steps, len(made)]:
        come = min(len(made), come + step)
        ends_ns = max(each.start_unix_ns + each.duration_ns for each in made[:come])
        stored = [s for s in map(second, range(300)) if s.start_unix_ns + NS <= ends_ns]
        since_ns, seconds_ns = seen.windows_since_unix_ns, seen.seconds_since_unix_ns
        seen.take(
            [each for each in made[:come] if each.start_unix_ns >= since_ns],
            [each for each in stored if each.start_unix_ns >= seconds_ns],
        )
    assert sum(tally.windows for tally in seen.tallies.values()) == len(made)
    assert seen.host_seconds == min(300, 20 * length_s)


def test_nested_domains_are_shown_but_not_added() -> None:
    seen = Seen()
    seen.take(windows(2, Flag(0)), [])
    assert seen.energy_uj == 0


def shown(seen: Seen, width: int = 120) -> str:
    """What the terminal shows, by either way of drawing."""
    with Path(os.devnull).open("w") as nowhere:
        console = rich.console.Console(width=width, record=True, file=nowhere)
        screen = TableScreen("127.0.0.1:1", Path("tls"), console)
        console.print(screen.content(seen, NS))
    return console.export_text()


def test_an_estimate_is_said_loudly() -> None:
    seen = Seen()
    seen.take(windows(2, Flag.ROOT | Flag.ESTIMATED), [second(0, flags=int(Flag.ESTIMATED))])
    text = shown(seen)
    assert ESTIMATED[:60] in text
    assert text.count("ESTIMATED") == 3  # the warning and each device
    assert plain_line(seen, NS).endswith("ESTIMATED")


def test_measured_power_carries_no_warning() -> None:
    seen = Seen()
    seen.take(windows(2), [second(0), second(1, gpu_mj=100_000)])
    text = shown(seen)
    assert "ESTIMATED" not in text
    assert "105 W" in text  # cpu and gpu of the newest second
    assert "memory" not in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_every_width_keeps_what_matters(width: int) -> None:
    seen = Seen()
    estimated = Flag.ROOT | Flag.ESTIMATED | Flag.PEAK_BEYOND_SENSOR
    named = DeviceId(DeviceKind.GPU, uid=0x12345678_1234_5678_1234_567812345678)
    made = [replace(each, device=named) for each in windows(3, estimated)]
    seen.take(made, [second(0)])
    table = device_table(seen, width)
    assert {"device", ">now", ">max", ">energy", "remarks"} <= set(table.headings)
    assert ("sensor" in table.headings) == (width == 140)
    row = next(line for line in shown(seen, width).splitlines() if "GPU-12345678" in line)
    assert "ESTIMATED, slow sensor" in row


def test_before_any_data_it_says_so() -> None:
    assert "waiting" in plain_line(Seen(), 0)
