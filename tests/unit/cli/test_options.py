"""Options that questions share."""

from __future__ import annotations

import argparse

import pytest

from chipwatt.cli import main, options
from chipwatt.client import DeviceInfo
from chipwatt.core.errors import ConfigError
from chipwatt.core.identity import DeviceId, pci_uid
from chipwatt.core.model import DeviceKind

DEVICES = (
    DeviceInfo(DeviceId(DeviceKind.CPU, 1), ()),
    DeviceInfo(DeviceId(DeviceKind.CPU, 11), ()),
    DeviceInfo(DeviceId(DeviceKind.GPU, 0, pci_uid("0000:c1:00.0")), ()),
)


def test_a_part_of_a_name_is_enough_and_an_exact_name_wins() -> None:
    assert options.pick_device(DEVICES, "c1:00") == DEVICES[2]
    assert options.pick_device(DEVICES, "CPU/1") == DEVICES[0]
    assert options.pick_device(DEVICES, "cpu/11") == DEVICES[1]
    assert options.pick_device(DEVICES, "") is None


@pytest.mark.parametrize(("wanted", "count"), [("cpu", "2"), ("gpu/7", "none")])
def test_what_fits_several_or_none_is_refused(wanted: str, count: str) -> None:
    with pytest.raises(options.NoSuchThing, match=f"fits {count} of the host's devices: .*cpu/1"):
        options.pick_device(DEVICES, wanted)


def test_durations_have_units() -> None:
    assert options.duration_ns("10min") == 600 * 10**9
    with pytest.raises(argparse.ArgumentTypeError, match="no number with one of the units"):
        options.duration_ns("10 parsecs")


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(options.ADDRESS_VARIABLE, "collector.example:9733")
    assert main.parser_for().parse_args(["hosts"]).collector == "collector.example:9733"


@pytest.mark.parametrize(
    "address", ["", "x", "host:", ":1", "a b:1", "host:99999", "a:b:1", "h\n:1"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match="is no address: write host:port"):
        options.check_address(address)


@pytest.mark.parametrize("address", ["h:1", "[::1]:9733", "127.0.0.1:65535", "unix:/run/x"])
def test_what_is_an_address(address: str) -> None:
    options.check_address(address)


@pytest.mark.parametrize(
    ("text", "power_mw"),
    [("800W", 800_000), ("40kW", 40_000_000), ("1.2 MW", 1_200_000_000), ("0.5W", 500), ("1mW", 1)],
)
def test_power_has_a_unit_and_is_exact(text: str, power_mw: int) -> None:
    assert options.power_mw(text) == power_mw


@pytest.mark.parametrize("text", ["800", "W", "-1W", "0W", "1e3W", "0.1mW", "2000000MW", "1 kw"])
def test_what_is_no_power(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"with a unit|no whole number of mW"):
        options.power_mw(text)


def test_shares_and_horizons() -> None:
    assert options.share_ppm("0.7") == options.share_ppm("70%") == 700_000
    assert options.quantile_ppm("99.9%") == 999_000
    assert options.horizon_s("1h") == 3_600
    for read, text in [
        (options.share_ppm, "1.1"), (options.share_ppm, "nan"), (options.share_ppm, "x%"),
        (options.share_ppm, "0.0000001"), (options.quantile_ppm, "0.4"),
        (options.quantile_ppm, "1"), (options.horizon_s, "2min"), (options.seconds, "0s"),
        (options.seconds, "1500ms"),
    ]:  # fmt: skip
        with pytest.raises(argparse.ArgumentTypeError, match=text.replace("%", ".")):
            read(text)
