from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from chipwatt.agent.sensing.contract import Reading
from chipwatt.agent.sensing.registry import Registered
from chipwatt.agent.sensing_config import SensingConfig
from chipwatt.agent.sensors_report import report
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.errors import ConfigError
from fakes.file_sensors import FileConfig, FileSource, Hardware, ModelSource, registered
from fakes.gauged import Gauged


def test_a_sensor_is_told_with_what_was_measured(tmp_path: Path) -> None:
    hardware = Hardware(tmp_path, [(80_000, 50 * NS_PER_MS)])
    registry = registered(FileSource, clock=hardware)
    tables = {"file": {"root": str(tmp_path)}}
    told = report(sources=tables, registered=registry, clock=hardware)
    assert json.loads(json.dumps(told)) == told
    assert told["estimated"] is False
    (interface,) = told["interfaces"]
    assert interface["present"] is True
    (sensor,) = interface["sensors"]
    assert sensor["device"] == "cpu/0"
    assert sensor["domain"] == "PACKAGE"
    assert sensor["root"] is True
    assert sensor["method"] == "COUNTER"
    assert abs(sensor["refresh_us"] - 50_000) < 2_500
    assert sensor["period_us"] == 25_000
    assert sensor["refresh_from"] == "measured"
    assert sensor["refresh_uncertainty_us"] == sensor["refresh_us"] // 20
    assert sensor["averaging_from"] is None, "a counter has none"
    assert sensor["averaging_not_seen"] is False
    assert sensor["limits"] == {
        "enforced_mw": 100_000, "min_mw": None, "max_mw": None, "default_mw": None,
    }  # fmt: skip
    assert hardware.mono_ns() < 2 * NS_PER_S, "nothing more could be found"
    assert sensor["power_mw"] == pytest.approx(80_000, rel=0.02)


@pytest.mark.parametrize(("listen_s", "said"), [(1, "documented"), (8, "measured")])
def test_averaging_is_measured_where_it_listens_long_enough(
    tmp_path: Path, listen_s: int, said: str
) -> None:
    hardware = Hardware(tmp_path, [(80_000, 20 * NS_PER_MS)])
    told = report(
        sources={"file": {"root": str(tmp_path)}},
        registered=registered(Gauged, clock=hardware),
        clock=hardware,
        listen_ns=listen_s * NS_PER_S,
    )
    _, instant, average = told["interfaces"][0]["sensors"]
    assert average["averaging_from"] == said
    assert average["averaging_not_seen"] is (said == "documented")
    if said == "measured":
        assert average["averaging_us"] == pytest.approx(1_000_000, rel=0.1)
        assert average["averaging_uncertainty_us"] <= 100_000
    else:
        assert average["averaging_us"] == 2_000_000
    assert instant["averaging_from"] in {"unknown", "measured"}


def test_what_is_absent_is_told_with_why(tmp_path: Path) -> None:
    told = report(
        SensingConfig(sources=("file",)),
        registered={**registered(FileSource), **registered(ModelSource, "estimate")},
        clock=Hardware(tmp_path, []),
    )
    assert [(each["name"], each["present"], each["reason"]) for each in told["interfaces"]] == [
        ("estimate", False, "DISABLED"),
        ("file", False, "NOT_PRESENT"),
    ]
    assert "No counter is in" in told["interfaces"][1]["detail"]


def test_a_source_that_fails_while_it_is_measured_does_not_end_the_report(tmp_path: Path) -> None:
    class Faulty(FileSource):
        def poll(self) -> Sequence[Reading]:
            raise ZeroDivisionError("division by zero")

    hardware = Hardware(tmp_path, [(80_000, 50 * NS_PER_MS)])
    registry = {"faulty": Registered("faulty", FileConfig, Faulty)}
    tables = {"faulty": {"root": str(tmp_path)}}
    (interface,) = report(sources=tables, registered=registry, clock=hardware)["interfaces"]
    assert interface["sensors"][0]["refresh_us"] == 0
    assert interface["sensors"][0]["power_mw"] is None


def test_the_real_registry_reports_on_this_machine_whatever_it_is() -> None:
    told = report()
    json.dumps(told)
    assert {each["name"] for each in told["interfaces"]} >= {"rapl_powercap", "nvml", "estimate"}
    for each in told["interfaces"]:
        assert each["present"] or (each["reason"] and each["detail"])


def test_a_wrong_setting_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"agent.toml: \[sources.nvidia\]"):
        report(sources={"nvidia": {}}, where="agent.toml", registered=registered(FileSource))
