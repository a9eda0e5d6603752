"""Who may see nobody's seconds sees whole minutes, and the newest of everything else."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chipwatt.collector.forecast.contract import Predictor
from chipwatt.collector.placement.minute_hold import LAG_S, steps_and_nameplates_mw
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.shown_outlook import ShownOutlook, ShownOutlooks
from chipwatt.collector.placement.trust import Quality
from unit.collector.placement.fleet import HOSTS, START_S, Fleet, W, text

OF_NO_POWER = {
    *("as_of_unix_ns", "topology", "allowed_mw", "reserved_mw", "is_named", "touched"),
    *("newest_s", "host_known", "horizons_s", "columns", "fresh"),
    *("trust_of_all", "trust_beneath", "prediction_on", "exceed_ppm_on"),
    *("moment", "stand_ins_mw", "shares", "with_reserved"),
}
"""Who is heard, and what the operator or a scheduler has said; the last row answers nobody."""
FROM_WHAT_IS_SHOWN = {"prediction", "peak_mw", "free_mw", "room", "room_above"}
ASKED = (600, 0.99)
NODES = ("site", "r0", "r1", *(f"h{number}" for number in range(HOSTS)))
FINAL_S = LAG_S - 1
"""Second of a minute in which the one before it is final."""


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path)
    made.wait(FINAL_S)
    made.history()
    made.outlooks.begin()
    return made


def of(outlook: Outlook, names: tuple[str, ...]) -> list[int]:
    return [outlook.topology.index[name] for name in names]


def told(outlook: Outlook, names: tuple[str, ...] = NODES) -> list[list[float]]:
    """Return every power that an outlook tells of these nodes."""
    at = np.array(of(outlook, names))
    found = [outlook.now_mw[at], outlook.mean_mw[at], outlook.peak_1s_mw[at]]
    for horizon_s in (60, 600, 3_600):
        for watts in (150, 200, 290, 600, 900, 1_190):
            limit_mw = np.full(len(outlook.topology.nodes), float(watts * W))
            found.append(outlook.exceed_ppm(horizon_s, limit_mw)[at])
        for quantile in (0.5, 0.77, 0.9, 0.99, 0.999):
            prediction = outlook.prediction(horizon_s, quantile)
            found += [prediction.peak_mw[at], prediction.base_mw[at], prediction.margin_mw[at]]
            found += [prediction.template_mw[at], prediction.predictor[at], prediction.scores[at]]
            coverage = [outlook.trust(p, horizon_s, quantile).coverage_7d_ppm for p in at]
            found.append(np.array(coverage))
    history, settled = outlook.history(at), outlook.settled_mw(at, 11)
    return [*(column.tolist() for column in found), *history.tolist(), *settled.tolist()]


def test_everything_that_an_outlook_tells_is_shown_or_of_no_power(fleet: Fleet) -> None:
    outlook = fleet.outlooks.latest()
    public = {name for name in (*dir(outlook), *vars(outlook)) if not name.startswith("_")}
    overridden = {name for name in vars(ShownOutlook) if not name.startswith("_")} | {"now_mw"}
    assert public - overridden - OF_NO_POWER - FROM_WHAT_IS_SHOWN == set()
    assert not overridden & OF_NO_POWER
    for name in FROM_WHAT_IS_SHOWN:
        assert "self._" not in inspect.getsource(getattr(Outlook, name)).replace(
            "self._free_above", ""
        )


def test_nothing_changes_within_a_minute(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    seen = [told(shown.latest())]
    exact = [told(shown.latest().exact)]
    for second in range(1, 121):
        fleet.run(1)
        if second in (1, 30, 59, 60, 61, 119, 120):
            assert shown.latest().exact is fleet.outlooks.latest()
            seen.append(told(shown.latest()))
            exact.append(told(shown.latest().exact))
    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert seen[4] == seen[5] == seen[6]
    assert all(one != other for one, other in itertools.pairwise(exact))


@pytest.mark.parametrize(
    "order", [lambda s: 59 - s % 60, lambda s: s % 60 * 7 % 60, lambda s: (s % 60 + 20) % 60]
)
def test_the_order_of_seconds_within_minutes_is_not_told(
    tmp_path: Path, order: Callable[[int], int]
) -> None:
    """Two fleets whose minutes hold the same seconds in another order look alike."""

    def burst(_number: int, second: int) -> int:
        return (280 if second % 60 < 20 else 120) * W

    def other(number: int, second: int) -> int:
        return burst(number, order(second))

    told_of = []
    for name, power in (("one", burst), ("other", other)):
        (tmp_path / name).mkdir()
        fleet = Fleet(tmp_path / name, power)
        fleet.wait(FINAL_S)
        fleet.history()
        outlook = ShownOutlooks(fleet.outlooks).latest()
        told_of.append((told(outlook), told(outlook.exact)))
    assert told_of[0][0] == told_of[1][0]
    assert told_of[0][1] != told_of[1][1]


def test_what_is_shown_is_the_last_minute_in_steps(fleet: Fleet) -> None:
    fleet.run(75)
    outlook = ShownOutlooks(fleet.outlooks).latest()
    exact, at = outlook.exact, np.array(of(outlook, NODES))
    steps = steps_and_nameplates_mw(exact.topology)[0][at]
    assert steps.tolist() == [20.0 * W] * len(at)  # a fifteenth of 300 W, whatever is summed
    for values in (outlook.now_mw, outlook.peak_1s_mw, outlook.peak_mw(*ASKED)):
        assert (values[at] % steps == 0).all()
    minute = np.array([[fleet.power(n, START_S + s) for s in range(60)] for n in range(HOSTS)])
    of_hosts = outlook.now_mw[of(outlook, tuple(f"h{n}" for n in range(HOSTS)))]
    assert (np.abs(of_hosts - minute.mean(axis=1)) <= 10 * W).all()
    assert abs(outlook.now_mw[0] - minute.mean(axis=1).sum()) <= 10 * W


def test_a_cold_forecast_covers_what_hosts_drew_at_most(tmp_path: Path) -> None:
    """Also of hosts that nobody rated, whose bursts minutes do not show."""
    fleet = Fleet(tmp_path, lambda _n, second: (290 if second % 60 < 5 else 60) * W)
    fleet.path.write_text(text().replace('rated = "300W"\n', ""))
    fleet.outlooks = fleet.opened()
    fleet.history()
    fleet.outlooks.begin()
    outlook = ShownOutlooks(fleet.outlooks).latest()
    at = np.array(of(outlook, NODES))
    prediction = outlook.prediction(3_600, 0.99)
    assert (outlook.now_mw[at] < 100 * W * np.array([8, 4, 4] + [1] * 8)).all()
    assert (prediction.peak_mw[at] >= 295 * W * np.array([8, 4, 4] + [1] * 8)).all()
    assert (prediction.predictor[at] == Predictor.RECENT_MAX).all()


def test_a_budget_of_all_nameplates_is_not_exceeded_by_a_rounding(fleet: Fleet) -> None:
    fleet.path.write_text(text(rack_w=1_000).replace("300W", "250.001W"))
    fleet.outlooks = fleet.opened()
    fleet.power = lambda _n, _s: 244 * W
    fleet.history()
    outlook = ShownOutlooks(fleet.outlooks).latest()
    host, rack = of(outlook, ("h0", "r0"))
    peak_mw = outlook.peak_mw(*ASKED)
    assert (peak_mw[host], peak_mw[rack]) == (250_001, 1_000_004)
    limit_mw = np.full(len(peak_mw), 250_001.0)
    limit_mw[rack] = 1_000_004.0
    assert outlook.exceed_ppm(600, limit_mw)[[host, rack]].tolist() == [0, 0]


def test_an_answer_says_that_it_is_by_the_minute_and_how_old(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    shown.latest()
    fleet.run(42)
    outlook = shown.latest()
    for at in of(outlook, ("r0", "h1", "site")):
        trust = outlook.trust(at)
        assert Quality.BY_THE_MINUTE in trust.quality
        assert trust.staleness_ms == (FINAL_S + 42) * 1_000
        assert trust.predictor == outlook.prediction(*ASKED).predictor[at]


def test_hosts_that_fall_silent_count_with_their_stand_ins_at_once(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    before = shown.latest()
    rack, host = of(before, ("r0", "h0"))
    lost = [number for number in range(HOSTS) if number not in (0, 2, 4)]
    outlook = before
    for _ in range(45):
        fleet.run(1, lost)
        outlook = shown.latest()
    assert outlook.exact.fresh.sum() == HOSTS - 3
    # Three nameplates for three of about 140 W.
    assert outlook.now_mw[rack] == before.now_mw[rack] + 3 * (300 - 140) * W
    assert outlook.peak_mw(*ASKED)[rack] == before.peak_mw(*ASKED)[rack] + 3 * 160 * W
    assert outlook.peak_mw(*ASKED)[host] >= 300 * W
    assert Quality.PARTIAL in outlook.trust(rack).quality


def test_a_snapshot_is_found_as_it_was_shown(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    fleet.run(55)
    then = shown.latest()
    name, before = then.id, told(then)
    fleet.power = lambda _number, _second: 260 * W
    fleet.run(20)
    assert told(shown.latest()) != before
    found = shown.get(name)
    assert found is not None
    assert told(found) == before
    assert shown.get("no such") is None


def test_a_new_topology_tells_nothing_but_itself(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    fleet.run(30)
    before = told(shown.latest())
    fleet.power = lambda _number, _second: 260 * W
    for rack_w in (1_000, 1_100, 1_200, 1_300):
        fleet.path.write_text(text(rack_w=rack_w))
        fleet.outlooks.reload()
        fleet.run(5)
        outlook = shown.latest()
        assert outlook.topology.nodes[outlook.topology.index["r0"]].budget_mw == rack_w * W
        for powers in ("now_mw", "mean_mw", "peak_1s_mw"):
            found = getattr(outlook, powers)[of(outlook, NODES)].tolist()
            assert found == before[("now_mw", "mean_mw", "peak_1s_mw").index(powers)]


def test_whoever_comes_late_with_an_older_outlook_holds_up_nobody(fleet: Fleet) -> None:
    class Slow:
        """The outlooks of a fleet, for who was slow to ask for the hold."""

        topology_error = ""
        outlook = fleet.outlooks.latest()

        def topology_at(self, unix_ns: int) -> None: ...

        def latest(self) -> Outlook:
            return self.outlook

        get = fleet.outlooks.get

    source = Slow()
    shown = ShownOutlooks(source)  # type: ignore[arg-type]
    older = source.outlook
    fleet.path.write_text(text(rack_w=1_000))
    fleet.outlooks.reload()
    source.outlook = fleet.run(1)
    shown.latest()
    source.outlook = older
    shown.latest()
    fleet.power = lambda _number, _second: 260 * W
    for _ in range(3):
        source.outlook = fleet.run(60)
        shown.latest()
    outlook = shown.latest()
    assert outlook.now_mw[of(outlook, ("h0",))] == [260 * W]


def test_what_the_forecast_takes_up_is_shown_at_once(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    hold = shown.latest()._hold
    fleet.run(20)
    assert shown.latest()._hold is hold
    shown.forget()
    assert shown.latest()._hold is not hold


def test_how_predictions_held_is_told_of_many_hosts_and_rounded(fleet: Fleet) -> None:
    fleet.run(400)
    outlook = ShownOutlooks(fleet.outlooks).latest()
    site = outlook.topology.index["site"]
    told_ppm = outlook.trust(site, 60, 0.5).coverage_7d_ppm
    assert told_ppm % 100 == 0
    predictor = Predictor(int(outlook.prediction(60, 0.5).predictor[site]))
    exact = outlook.exact.calibration(site, 60, 0.5, predictor).coverage
    assert told_ppm == pytest.approx(exact * 1e6, abs=51)
    outlook = ShownOutlooks(fleet.outlooks).latest()
    for _ in range(90):
        fleet.run(1, range(HOSTS - 1))
        outlook = ShownOutlooks(fleet.outlooks).latest()
    assert outlook.trust(outlook.topology.index["h0"], 60, 0.5).coverage_7d_ppm == 0


def test_probabilities_are_the_inverse_of_what_is_predicted(tmp_path: Path) -> None:
    """And of nothing finer: a limit between two steps is the lower one."""
    fleet = Fleet(tmp_path, lambda n, s: (100 + 80 * (s // 60 % 5 == 0) + (n + s) % 7 * 5) * W)
    fleet.history()
    fleet.outlooks.begin()
    fleet.run(481)
    outlook = ShownOutlooks(fleet.outlooks).latest()
    at = np.array(of(outlook, ("h0", "h5")))
    assert (outlook.prediction(60, 0.5).predictor[at] == Predictor.CONFORMAL).all()
    quantiles = np.arange(0.02, 1.0, 0.02)
    peaks_mw = np.stack([outlook.peak_mw(60, float(q))[at] for q in quantiles])
    for steps in range(1, 16):
        limit_mw = np.full(len(outlook.topology.nodes), steps * 20.0 * W)
        exceed = outlook.exceed_ppm(60, limit_mw)[at] / 1e6
        assert (exceed == outlook.exceed_ppm(60, limit_mw + 19 * W)[at] / 1e6).all()
        above = (peaks_mw > steps * 20 * W).mean(axis=0)
        assert np.abs(exceed - above).max() < 0.05
    assert (outlook.mean_mw[at] < outlook.peak_1s_mw[at]).all()
