"""Text in sysfs that is no number, or none that can be: through real sources into the reducer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.sensing.contract import TransientReadError
from chipwatt.agent.sensing.sysfs import Attribute
from chipwatt.agent.sources.hwmon import HwmonConfig, HwmonSource
from chipwatt.agent.sources.rapl_powercap import RaplPowercapConfig, RaplPowercapSource
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.columns import COLUMNS
from fakes.hwmon import add_chip
from fakes.powercap import Player, PowercapTree
from fakes.scenario import steady
from fakes.sensed import sense

S = NS_PER_S
POWER_MW = 100_000
NO_NUMBERS = ("nan", "NaN", "inf", "-inf", "", "\n", "1e9", "0x10", "12 34", "1.5", "\0\0", "é")
OUT_OF_RANGE = ("-5", "-9223372036854775808", "9" * 60)


@pytest.mark.parametrize("text", [*NO_NUMBERS, *OUT_OF_RANGE])
def test_a_counter_s_file_with_something_else_in_it(powercap: PowercapTree, text: str) -> None:
    """Neither crashes nor counts: the energy of that time comes with the next good value."""
    broken = powercap.zone("intel-rapl:0", "package-0")
    sound = powercap.zone("intel-rapl:1", "package-1")
    player = Player({zone: steady(POWER_MW) for zone in (broken, sound)})
    file = broken.folder / "energy_uj"

    def at(now_ns: int) -> None:
        player.advance_to(now_ns)
        if 5 * S <= now_ns < 6 * S:
            file.write_text(text)
        elif now_ns == 6 * S:
            file.write_text(f"{broken.energy_uj}\n".ljust(24))

    source = RaplPowercapSource(RaplPowercapConfig(powercap.sysfs, powercap.procfs))
    sensed = sense(source, 20 * S, at)
    for line, zone in zip(sensed.lines.values(), (broken, sound), strict=True):
        assert line.gaps == []
        assert line.known_uj == zone.true_uj
    counted = source.transient_errors + sensed.dropped(sensed.sensors[0].device)
    assert counted == 100, "each of the hundred bad reads is counted, one way or the other"
    assert sensed.dropped(sensed.sensors[1].device) == 0


@pytest.mark.parametrize("text", [*NO_NUMBERS, *OUT_OF_RANGE])
def test_a_gauge_s_file_with_something_else_in_it(tmp_path: Path, text: str) -> None:
    folder = add_chip(tmp_path, 0, "amdgpu", {"power1_input": "1"}, device="0000:c1:00.0")

    def at(now_ns: int) -> None:
        bad = 5 * S <= now_ns < 5 * S + 200_000_000
        (folder / "power1_input").write_text(text if bad else str(POWER_MW * 1000))

    sensed = sense(HwmonSource(HwmonConfig(sysfs=tmp_path)), 20 * S, at)
    line = sensed.only()
    assert sensed.failed_polls + sensed.dropped() == 20
    assert line.gaps == []
    assert line.known_uj == 20 * POWER_MW * 1000


@pytest.mark.parametrize("text", [*NO_NUMBERS, "-5"])
def test_a_limit_that_is_no_number_is_no_limit(powercap: PowercapTree, text: str) -> None:
    zone = powercap.zone("intel-rapl:0", "package-0")
    for name in ("constraint_0_max_power_uw", "constraint_0_power_limit_uw"):
        (zone.folder / name).write_text(text)
    source = RaplPowercapSource(RaplPowercapConfig(powercap.sysfs, powercap.procfs))
    (sensor,) = source.open()
    assert sensor.max_power_mw == 600_000
    source.close()


@settings(max_examples=200)
@given(data=st.binary(max_size=80))
def test_any_bytes_are_a_number_or_a_failed_read(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "attribute"
    path.write_bytes(data)
    attribute = Attribute(path)
    try:
        assert isinstance(attribute.read(), int)
    except TransientReadError:
        with pytest.raises(ValueError, match=r"invalid literal|null"):
            int(data[:64])
    finally:
        attribute.close()


def test_nothing_that_leaves_a_host_can_be_nan_or_infinite() -> None:
    """Every column is an integer, and every quantity of energy, power or time is unsigned."""
    for specs in COLUMNS.values():
        for spec in specs:
            assert spec.dtype[1] in "iu", spec.name
            if spec.unit in ("uJ", "mJ", "mW", "mW/s", "ms", "ppm"):
                assert spec.dtype[1] == "u", spec.name
                assert spec.low == 0, spec.name
