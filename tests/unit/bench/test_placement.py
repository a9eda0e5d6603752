"""The experiments on placement: what they read, simulate and judge."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.placement import __main__ as command
from bench.placement.coverage import levels
from bench.placement.judge import grouped, pinball, rc_like
from bench.placement.llm_fleet import CHIPS, SHARES, Part, requests, servers
from bench.placement.outcome import Outcome
from bench.placement.oversubscribe import BUDGET, MOST, _policy, pooled
from bench.placement.own_series import SeriesError, read_series
from bench.placement.training_fleet import GANG, HIGH, IDLE, LOW, gangs


def test_the_loss_is_least_at_the_quantile() -> None:
    peak = np.random.default_rng(1).normal(size=20_001)
    at = np.linspace(-3, 3, 601)
    losses = [float(pinball(peak, np.full_like(peak, value), 0.9).mean()) for value in at]
    assert at[int(np.argmin(losses))] == pytest.approx(np.quantile(peak, 0.9), abs=0.02)


def test_groups_are_sums_of_whole_groups() -> None:
    power = np.arange(20.0).reshape(10, 2)
    (group,) = grouped(power, {"four": 4})
    np.testing.assert_array_equal(group.power, [[12, 16], [44, 48]])


def test_levels_are_rated_by_their_chips(data_dir: Path) -> None:
    assert data_dir.is_dir()
    power = servers("conv", 40, seed=2)
    chips, hosts, racks, rows = levels(power)
    assert [g.rating * CHIPS for g in (chips, hosts, racks, rows)] == [1, 8, 64, 320]
    assert len({g.kind for g in (chips, hosts, racks, rows)}) == 4
    np.testing.assert_array_equal(chips.power * CHIPS, hosts.power)
    np.testing.assert_allclose(rows.power[0], chips.power.sum(axis=0) * CHIPS, rtol=1e-5)
    high = rc_like(power, [chips, hosts, racks, rows], 900)
    np.testing.assert_allclose(high[:40] * CHIPS, high[40:80], rtol=1e-5)
    np.testing.assert_allclose(high[-1], high[40:80].sum(), rtol=1e-5)


def test_gangs_swing_in_phase_between_their_levels() -> None:
    power = gangs(2 * GANG, seed=3, hours=1)
    assert power.shape == (2 * GANG, 3_600)
    np.testing.assert_array_equal(power[0], power[GANG - 1])
    assert not np.array_equal(power[0], power[GANG])
    assert power.max() <= HIGH + 1e-6
    assert power.min() == pytest.approx(IDLE)
    working = power[power > IDLE + 1e-3]
    assert working.min() >= LOW - 1e-6
    assert working.mean() == pytest.approx(LOW + 0.7 * (HIGH - LOW), abs=0.01)


def test_a_policy_is_judged_by_what_came() -> None:
    actual = np.full((1, 2, MOST - BUDGET + 1), 9.0)
    actual[0, 1, 3:] = 10.5
    policy = _policy(np.array([[0, 4]]), actual)
    assert (policy.gain, policy.broken, policy.decisions) == (0.15, 0.5, 2)
    assert policy.excess == pytest.approx(0.05)
    both = pooled([{"x": policy}, {"x": _policy(np.array([[1, 1]]), actual)}])["x"]
    assert (both.gain, both.broken, both.decisions) == (0.075, 0.25, 4)
    assert both.excess == pytest.approx(0.05)


@pytest.mark.parametrize("service", list(SHARES))
def test_even_and_odd_stretches_share_no_request(service: str, data_dir: Path) -> None:
    assert data_dir.is_dir()
    whole, even, odd = (requests(service, part) for part in (Part.ALL, Part.EVEN, Part.ODD))
    assert len(even.at_s) + len(odd.at_s) == len(whole.at_s)
    assert sorted([*even.prompt, *odd.prompt]) == sorted(whole.prompt)
    for part in (even, odd):
        assert (np.diff(part.at_s) >= 0).all()
        assert 0 <= part.at_s[0] < part.at_s[-1] <= part.span_s == whole.span_s / 2


def test_servers_stay_within_what_was_measured(data_dir: Path) -> None:
    assert data_dir.is_dir()
    power = servers("conv", 8, seed=1)
    assert power.shape == (8, 3_600)
    assert power.min() >= 0.21 - 1e-5
    assert power.max() < 1.05
    np.testing.assert_array_equal(power, servers("conv", 8, seed=1))


def series(path: Path, lines: list[str]) -> Path:
    file = path / "own.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_reads_an_operators_series_on_a_grid_of_seconds(tmp_path: Path) -> None:
    file = series(tmp_path, ["t,a,b", "100,1,10", "102,2,20", "102,3,30", "103,4,40"])
    names, watts, highest = read_series(file, hours=1)
    assert (names, highest) == (["a", "b"], 40.0)
    np.testing.assert_array_equal(watts, [[1, 1, 3, 4], [10, 10, 30, 40]])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["t,a", "0,1", "1,x"], "line 3: could not convert"),
        (["t,a", "0,1", "1,2,3"], "line 3: 3 cells, not 2"),
        (["t,a", "0,1", "1"], "line 3: 1 cells, not 2"),
        (["t,a", "5,1", "4,1"], "rising times"),
        (["t,a", "0,1"], "rising times"),
        (["t", "0", "1"], "rising times"),
        (["t,a", "0,nan", "1,1"], "finite"),
        (["t,a", "nan,1", "1,1"], "rising times"),
        (["t,a", "0,-1", "1,1"], "not negative"),
        (["t,a", "yesterday,1", "1,1"], "line 2: Invalid isoformat"),
        ([], "rising times"),
    ],
)
def test_says_what_is_wrong_with_a_series(lines: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match=words):
        read_series(series(tmp_path, lines), hours=1)


def test_judges_a_series_and_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(2)
    rows = [
        f"2026-01-01T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}Z,{300 + rng.gamma(2, 20):.1f}"
        for s in range(1_500)
    ]
    file = series(tmp_path, ["t,node", *rows])
    monkeypatch.setattr("sys.argv", ["placement", "--json", "--csv", str(file)])
    assert command.main() == 0
    out, err = capsys.readouterr()
    verdict = json.loads(out)
    assert verdict["ok"] is True
    assert 0.9 <= verdict["csv"]["node coverage"] <= 1.0
    assert "n_sigma" in err
    monkeypatch.setattr("sys.argv", ["placement", "--csv", str(tmp_path / "no.csv")])
    assert command.main() == 2


def test_a_broken_bound_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = Outcome()
    outcome.bound(holds=True, complaint="never")
    outcome.bound(holds=False, complaint="too much")
    assert outcome.broken == ["too much"]
    monkeypatch.setattr("bench.placement.row_peaks.run", lambda: outcome)
    monkeypatch.setattr("sys.argv", ["placement", "rows"])
    assert command.main() == 1
