from __future__ import annotations

import json
import tomllib
from dataclasses import replace

import pytest

from chipwatt.agent.sensing_config import SensingConfig, source_configs
from chipwatt.core import settings
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.errors import ConfigError
from chipwatt.core.settings import Duration
from fakes.file_sensors import FileConfig, FileSource, registered

REGISTRY = registered(FileSource)


def test_settings_survive_the_way_to_the_other_process() -> None:
    config = replace(SensingConfig(), sources=("file",), max_rate=1000, window=Duration(NS_PER_S),
                     batch=Duration(NS_PER_S))  # fmt: skip
    assert SensingConfig.from_plain(json.loads(json.dumps(config.to_plain()))) == config


def test_every_setting_reads_back_from_what_is_printed() -> None:
    printed = settings.dump(SensingConfig())
    assert settings.build(SensingConfig, tomllib.loads(printed), "printed") == SensingConfig()
    assert printed.count("#") >= 7, "each setting says what it is for"


def test_a_short_window_takes_the_default_batch_along() -> None:
    config = settings.build(SensingConfig, {"window": "2s"}, "test")
    assert (config.window, config.batch) == (2 * NS_PER_S, 2 * NS_PER_S)
    assert settings.build(SensingConfig, {"window": "60s"}, "test").batch == 10 * NS_PER_S


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("window", "2500ms"),
        ("max_rate", 0),
        ("max_rate", 1001),
        ("window", "2h"),
        ("batch", "11s"),
        ("cpu_budget", 0.0),
        ("library_budget", 1.5),
        ("call_timeout", "1ms"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"agent.toml.*{key}"):
        settings.build(SensingConfig, {key: value}, "agent.toml")


def test_rubbish_from_the_other_process_is_refused() -> None:
    with pytest.raises(ConfigError, match="sensing process"):
        SensingConfig.from_plain({"window": 5, "colour": "blue"})


def test_tables_become_the_configurations_of_their_sources() -> None:
    configs = source_configs(REGISTRY, SensingConfig(), {"file": {"root": "/there"}}, "agent.toml")
    assert str(configs["file"].root) == "/there"
    assert source_configs(REGISTRY, SensingConfig(), {}, "defaults")["file"] == FileConfig()


@pytest.mark.parametrize(
    ("tables", "sources", "says"),
    [
        ({"flie": {}}, (), r"\[sources.flie\]: no source is called 'flie'; did you mean 'file'"),
        ({"xyz": {}}, (), r"known: file"),
        ({}, ("flie",), r"sensing.sources: no source is called 'flie'; did you mean 'file'"),
        ({"file": {"rot": "/"}}, (), r"\[sources.file\]: unknown key 'rot'; did you mean 'root'"),
        ({"file": 3}, (), r"sources.file is a table"),
    ],
)
def test_an_unknown_source_or_key_is_refused_with_the_nearest(
    tables: dict[str, dict[str, object]], sources: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        source_configs(REGISTRY, SensingConfig(sources=sources), tables, "agent.toml")
