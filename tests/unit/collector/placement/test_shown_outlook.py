"""Who may see nobody's seconds sees whole minutes, and the newest of everything else."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path

import pytest

from chipwatt.collector.forecast.contract import Predictor
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.shown_outlook import ShownOutlook, ShownOutlooks
from chipwatt.collector.placement.trust import Quality
from unit.collector.placement.fleet import HOSTS, START_S, Fleet, W, text
from unit.collector.placement.telling import ASKED, FINAL_S, NODES, of, told

OF_NO_POWER = {
    *("as_of_unix_ns", "topology", "allowed_mw", "reserved_mw", "is_named", "touched"),
    *("newest_s", "host_known", "horizons_s", "columns", "fresh"),
    *("prediction_on",),
    *("moment", "stand_ins_mw", "shares", "with_reserved"),
}
"""Who is heard, and what the operator or a scheduler has said; the last row answers nobody."""
FROM_WHAT_IS_SHOWN = {"prediction", "peak_mw", "free_mw", "room", "room_above", "trust"}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path)
    made.wait(FINAL_S)
    made.history()
    made.outlooks.begin()
    return made


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
    # Nameplates for what the three were last seen with.
    base_mw = outlook._hold._seen.base_mw[of(outlook, ("h0", "h2", "h4"))]
    more_mw = 3 * 300 * W - base_mw.sum()
    assert more_mw > 300 * W
    assert outlook.now_mw[rack] == pytest.approx(before.now_mw[rack] + more_mw, abs=1)
    assert outlook.peak_mw(*ASKED)[rack] == 1_200 * W  # and no more than all nameplates
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


def test_how_other_predictions_have_held_is_not_told(fleet: Fleet) -> None:
    fleet.run(400)
    outlook = ShownOutlooks(fleet.outlooks).latest()
    site = outlook.topology.index["site"]
    for other in (Predictor.N_SIGMA, Predictor.NAMEPLATE):
        assert outlook.exact.calibration(site, 60, 0.5, other).windows > 0
        assert outlook.calibration(site, 60, 0.5, other).windows == 0


def test_how_these_have_held_is_told_the_next_day_and_not_of_a_few_hosts(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    fleet.wait((START_S // 86_400 + 1) * 86_400 - fleet.now_s - 2_100)
    fleet.history()
    fleet.run(2_090)
    rack, host = of(shown.latest(), ("r0", "h0"))
    assert shown.latest().prediction(60, 0.5).predictor[host] == Predictor.BY_THE_MINUTE
    assert shown.latest().trust(host, 60, 0.5).coverage_7d_ppm == 0
    fleet.run(100)
    outlook = shown.latest()
    told = outlook.trust(host, 60, 0.5).coverage_7d_ppm
    exact = outlook.exact.calibration(host, 60, 0.5, Predictor.BY_THE_MINUTE)
    assert told == round(round(exact.coverage, 4) * 1_000_000)
    assert told > 0
    # Two racks have had too few windows by then to say anything of them.
    assert outlook.trust(rack, 60, 0.5).coverage_7d_ppm == 0
    seven = [number for number in range(HOSTS) if number != 6]
    for _ in range(70):
        fleet.run(1, seven)
    assert shown.latest().trust(host, 60, 0.5).coverage_7d_ppm == 0


def test_everything_that_is_answered_says_that_it_is_by_the_minute(fleet: Fleet) -> None:
    outlook = ShownOutlooks(fleet.outlooks).latest()
    for trust in (outlook.trust_of_all(), outlook.trust_beneath(0), outlook.trust(0)):
        assert Quality.BY_THE_MINUTE in trust.quality


def test_a_snapshot_answers_for_every_horizon(fleet: Fleet) -> None:
    shown = ShownOutlooks(fleet.outlooks)
    name = shown.latest().id
    fleet.run(3)
    found = shown.get(name)
    assert found is not None
    assert all(found.holds(horizon_s) for horizon_s in found.horizons_s)
