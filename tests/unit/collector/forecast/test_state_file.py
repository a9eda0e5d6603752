"""The state on disk: what is written is read again, whatever is damaged starts cold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipwatt.collector.forecast.contract import ForecastConfig
from chipwatt.collector.forecast.forecaster import Forecaster
from chipwatt.collector.forecast.state_file import load, save
from unit.collector.forecast.fleets import SHORT, fed, peaks, specs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "forecast.npz"


@pytest.fixture(scope="module")
def seasoned() -> Forecaster:
    return fed(3, 900)


def test_what_is_written_is_read(path: Path, seasoned: Forecaster) -> None:
    save(path, seasoned.state())
    again = Forecaster(specs(3), SHORT)
    assert load(path, again)
    np.testing.assert_array_equal(peaks(again)[60], peaks(seasoned)[60])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_new_state_takes_the_place_of_the_old(path: Path, seasoned: Forecaster) -> None:
    save(path, fed(3, 10).state())
    save(path, seasoned.state())
    again = Forecaster(specs(3), SHORT)
    assert load(path, again)
    assert again.second == seasoned.second


def test_no_file_starts_cold(path: Path) -> None:
    assert not load(path, Forecaster(specs(3), SHORT))


def test_other_horizons_start_cold(path: Path, seasoned: Forecaster) -> None:
    save(path, seasoned.state())
    assert not load(path, Forecaster(specs(3), ForecastConfig((120,), lag_s=0)))


def test_another_format_starts_cold(path: Path, seasoned: Forecaster) -> None:
    save(path, seasoned.state())
    path.write_bytes(path.read_bytes().replace(b"forecast 1", b"forecast 2", 1))
    assert not load(path, Forecaster(specs(3), SHORT))
    np.savez(path, allow_pickle=False, **seasoned.state())
    assert not load(path, Forecaster(specs(3), SHORT))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_starts_cold(path: Path, seasoned: Forecaster, data: st.DataObject) -> None:
    save(path, seasoned.state())
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw) - 1)) :]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    fresh = Forecaster(specs(3), SHORT)
    assert not load(path, fresh)
    assert fresh.second == -1
