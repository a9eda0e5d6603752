"""Who sees no seconds of few hosts sees minutes of them, and the newest of everything else."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chipwatt.collector.forecast.contract import Predictor
from chipwatt.collector.placement.minute_hold import steps_and_nameplates_mw
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.shown_outlook import ShownOutlook, ShownOutlooks
from chipwatt.collector.placement.trust import Quality
from unit.collector.placement.fleet import HOSTS, START_S, Fleet, W, text

OF_NO_POWER = {
    *("as_of_unix_ns", "topology", "allowed_mw", "reserved_mw", "is_named", "touched"),
    *("prediction_on", "exceed_ppm_on"),
    *("newest_s", "host_known", "horizons_s", "alive", "fresh"),
    *("trust_of_all", "trust_beneath", "moment", "shares", "with_reserved"),
}
"""Who is heard, and what the operator or a scheduler has said; the last three answer nobody."""
FROM_WHAT_IS_SHOWN = {"prediction", "peak_mw", "free_mw", "room", "room_above"}
ASKED = (600, 0.99)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path)
    made.history()
    made.outlooks.begin()
    return made


def of(outlook: Outlook, names: tuple[str, ...]) -> list[int]:
    return [outlook.topology.index[name] for name in names]


RACKS_AND_HOSTS = ("r0", "r1", *(f"h{number}" for number in range(HOSTS)))


def told(outlook: Outlook, names: tuple[str, ...]) -> list[list[float]]:
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
            found += [prediction.template_mw[at], prediction.predictor[at]]
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


def test_nothing_of_few_hosts_changes_within_a_minute(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    seen = [told(shown.latest(), RACKS_AND_HOSTS)]
    site = [shown.latest().now_mw[0]]
    for second in range(1, 121):
        fleet.run(1)
        outlook = shown.latest()
        assert outlook.exact is fleet.outlooks.latest()
        site.append(outlook.now_mw[0])
        assert site[-1] == outlook.exact.now_mw[0]
        if second in (1, 30, 59, 60, 61, 119, 120):
            seen.append(told(outlook, RACKS_AND_HOSTS))
    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert seen[4] == seen[5] == seen[6]
    assert len(set(site)) > 100, "the seconds of a crowd are shown"


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
        fleet.wait(59)  # ten whole minutes end now
        fleet.history()
        outlook = ShownOutlooks(fleet.outlooks).latest()
        told_of.append((told(outlook, RACKS_AND_HOSTS), told(outlook.exact, RACKS_AND_HOSTS)))
    assert told_of[0][0] == told_of[1][0]
    assert told_of[0][1] != told_of[1][1]


def test_what_is_shown_is_in_steps_and_promises_no_room_that_is_not_there(fleet: Fleet) -> None:
    fleet.run(75)
    shown = ShownOutlooks(fleet.outlooks)
    outlook = shown.latest()
    exact, few = outlook.exact, np.array(of(outlook, RACKS_AND_HOSTS))
    steps = steps_and_nameplates_mw(exact.topology)[0][few]
    assert steps.tolist() == [20.0 * W] * len(few)  # a fifteenth of 300 W
    for values in (outlook.now_mw, outlook.peak_1s_mw, outlook.peak_mw(*ASKED)):
        assert (values[few] % steps == 0).all()
    # The forecast is cold: nameplates stand in, and so promise less than the classic rules.
    assert (outlook.peak_mw(*ASKED)[few] == [1_200 * W] * 2 + [300 * W] * HOSTS).all()
    assert (outlook.room(*ASKED)[0] <= exact.room(*ASKED)[0]).all()
    limit_mw = exact.peak_mw(*ASKED) - 10 * W
    assert (outlook.exceed_ppm(600, limit_mw) >= exact.exceed_ppm(600, limit_mw)).all()
    minute = np.array([[fleet.power(n, START_S + s) for s in range(1, 61)] for n in range(HOSTS)])
    hosts = of(outlook, tuple(f"h{n}" for n in range(HOSTS)))
    assert (np.abs(outlook.now_mw[hosts] - minute.mean(axis=1)) <= 10 * W).all()


def test_an_answer_says_that_it_is_by_the_minute_and_how_old(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    shown.latest()
    fleet.run(42)
    outlook = shown.latest()
    rack, site = (outlook.trust(at) for at in of(outlook, ("r0", "site")))
    assert Quality.BY_THE_MINUTE in rack.quality
    assert rack.staleness_ms >= 42_000
    assert rack.as_of_unix_ns == outlook.as_of_unix_ns - 42_000_000_000
    assert Quality.BY_THE_MINUTE not in site.quality
    assert site == outlook.exact.trust(outlook.topology.index["site"])


def test_a_host_that_falls_silent_counts_with_its_stand_in_at_once(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    shown.latest()
    outlook = shown.latest()
    for _ in range(45):
        fleet.run(1, range(1, HOSTS))
        outlook = shown.latest()
    host = outlook.topology.index["h0"]
    assert outlook.now_mw[host] == 300 * W
    assert outlook.peak_mw(*ASKED)[host] >= 300 * W
    assert outlook.trust(host).quality == outlook.exact.trust(host).quality


def test_a_snapshot_is_found_as_it_was_shown(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    fleet.run(55)
    then = shown.latest()
    names, before = then.id, told(then, (*RACKS_AND_HOSTS, "site"))
    fleet.power = lambda _number, _second: 260 * W
    fleet.run(20)
    assert told(shown.latest(), RACKS_AND_HOSTS) != told(then, RACKS_AND_HOSTS)
    found = shown.get(names)
    assert found is not None
    assert told(found, (*RACKS_AND_HOSTS, "site")) == before
    assert shown.get("no such") is None


def test_a_new_topology_is_shown_at_once_and_a_clock_set_back_holds_on(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    shown.latest()
    fleet.path.write_text(text(rack_w=1_000))
    fleet.outlooks.reload()
    fleet.run(1)
    outlook = shown.latest()
    assert outlook.topology.nodes[outlook.topology.index["r0"]].budget_mw == 1_000 * W
    assert outlook.topology is outlook.exact.topology
    before = told(outlook, RACKS_AND_HOSTS)
    fleet.run(1)
    assert told(shown.latest(), RACKS_AND_HOSTS) == before


def test_what_the_forecast_takes_up_is_shown_at_once(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    first = told(shown.latest(), RACKS_AND_HOSTS)
    fleet.power = lambda _number, _second: 260 * W
    fleet.run(40)
    assert told(shown.latest(), RACKS_AND_HOSTS) == first
    shown.forget()
    assert told(shown.latest(), RACKS_AND_HOSTS) != first


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
