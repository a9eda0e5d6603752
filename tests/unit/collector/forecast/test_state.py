"""State: a restart changes nothing, another topology only what is new."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.forecast.contract import ForecastConfig, NodeSpec, Predictor, Weakness
from chipwatt.collector.forecast.forecaster import Forecaster
from unit.collector.forecast.fleets import RATED_MW, START_S, fed, feed, noise, specs

CONFIG = ForecastConfig((60, 600, 3_600))
NODES = 6


@pytest.fixture(scope="module")
def seasoned() -> Forecaster:
    return fed(NODES, 5_000, config=CONFIG)


def assert_same(one: Forecaster, other: Forecaster) -> None:
    for horizon_s in CONFIG.horizons_s:
        for quantile in (0.5, 0.99):
            said, again = one.predict(horizon_s, quantile), other.predict(horizon_s, quantile)
            for field in fields(said):
                np.testing.assert_array_equal(
                    getattr(said, field.name), getattr(again, field.name), field.name
                )
    assert list(one.calibrations()) == list(other.calibrations())


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 5_500), st.integers(1, 300))
def test_a_restart_changes_nothing_now_or_later(before_s: int, after_s: int) -> None:
    rows = noise(NODES, before_s + after_s)
    going = Forecaster(specs(NODES), CONFIG)
    feed(going, rows[:before_s])
    restarted = Forecaster(specs(NODES), CONFIG)
    restarted.restore(going.state())
    assert restarted.second == going.second
    assert_same(going, restarted)
    for forecaster in (going, restarted):
        feed(forecaster, rows[before_s:], START_S + before_s)
    assert_same(going, restarted)


def test_a_state_is_a_copy(seasoned: Forecaster) -> None:
    state = seasoned.state()
    before = {name: value.copy() for name, value in state.items()}
    going = Forecaster(specs(NODES), CONFIG)
    going.restore(state)
    feed(going, noise(NODES, 100), START_S + 5_000)
    for name, value in before.items():
        np.testing.assert_array_equal(state[name], value)


@settings(deadline=None)
@given(st.permutations([*range(NODES), *range(100, 104)]), st.integers(1, NODES + 4))
def test_another_topology_carries_over_by_id(
    seasoned: Forecaster, order: list[int], count: int
) -> None:
    places = order[:count]
    nodes = [NodeSpec(f"n{n}", 6, "", RATED_MW, RATED_MW) for n in places]
    changed = Forecaster(nodes, CONFIG)
    changed.restore(seasoned.state())
    known = [(new, old) for new, old in enumerate(places) if old < NODES]
    for horizon_s in CONFIG.horizons_s:
        old_said, said = seasoned.predict(horizon_s, 0.99), changed.predict(horizon_s, 0.99)
        for new, old in known:
            # The last bits hang on where in an array a node stands.
            assert said.peak_mw[new] == pytest.approx(old_said.peak_mw[old], rel=1e-12)
            assert said.predictor[new] == old_said.predictor[old]
        fresh = [new for new, old in enumerate(places) if old >= NODES]
        assert (said.predictor[fresh] == Predictor.NAMEPLATE).all()
        assert (said.weakness[fresh] & Weakness.COLD_START).all()
    feed(changed, noise(count, 70), START_S + 5_000)


def test_a_new_node_speaks_with_its_cohorts_scores_after_five_minutes(
    seasoned: Forecaster,
) -> None:
    grown = Forecaster(specs(NODES + 1), CONFIG)
    grown.restore(seasoned.state())
    feed(grown, noise(NODES + 1, 301), START_S + 5_000)
    said = grown.predict(60, 0.99)
    assert said.predictor[NODES] == Predictor.CONFORMAL
    assert said.scores[NODES] > 300


def test_another_class_has_no_scores_yet(seasoned: Forecaster) -> None:
    renamed = Forecaster([replace(s, hw_class="new") for s in specs(NODES)], CONFIG)
    renamed.restore(seasoned.state())
    said = renamed.predict(60, 0.99)
    assert (said.scores == 0).all()
    assert (said.weakness == Weakness.COLD_START).all()
    assert (said.predictor == Predictor.N_SIGMA).all()


def test_another_scale_leaves_the_power_of_open_windows_as_it_was(seasoned: Forecaster) -> None:
    """A nameplate that is edited makes shares of another whole; what they stand for stays."""
    bigger = [replace(spec, scale_mw=4 * RATED_MW) for spec in specs(NODES)]
    changed = Forecaster(bigger, CONFIG)
    changed.restore(seasoned.state())
    for horizon_s in CONFIG.horizons_s:
        name = f"h{horizon_s}.pending.minute"
        was, is_now = (one.state()[name].astype(np.float64) for one in (seasoned, changed))
        assert (was > 0).any()
        assert 4 * is_now == pytest.approx(was, rel=2e-3, nan_ok=True)


@pytest.mark.parametrize(("hosts", "told"), [(8 / NODES, True), (7.9 / NODES, False)])
def test_by_the_minute_windows_of_few_hosts_are_not_entered(hosts: float, *, told: bool) -> None:
    forecaster = Forecaster([replace(spec, hosts=hosts) for spec in specs(NODES)], CONFIG)
    feed(forecaster, noise(NODES, 3_000))
    sums = forecaster.state()["book.sums"]
    assert sums[..., Predictor.CONFORMAL, :, 6, 0].any()
    assert sums[..., Predictor.BY_THE_MINUTE, :, 6, 0].any() == told


def test_a_host_among_others_that_are_cold_is_a_host_alone() -> None:
    alone = Forecaster([NodeSpec("a", 6, "old", RATED_MW, RATED_MW)], CONFIG)
    feed(alone, noise(1, 3_000))
    new = [NodeSpec(f"n{n}", 6, "new", RATED_MW, RATED_MW) for n in range(7)]
    fleet = Forecaster([NodeSpec("a", 6, "old", RATED_MW, RATED_MW), *new], CONFIG)
    fleet.restore(alone.state())
    entered, before = set(), 0.0
    for second, row in enumerate(noise(8, 1_500, seed=1), START_S + 3_000):
        fleet.step(second, row, row)
        if second % 10 == 5:
            sums = fleet.state()["book.sums"]
            after = float(sums[:, 0, Predictor.BY_THE_MINUTE, 0, 6, 0].sum())
            entered.add(after - before)
            before = after
    assert entered == {0.0, 8.0}


@pytest.mark.parametrize(
    "config",
    [ForecastConfig((60, 600)), ForecastConfig((60, 600, 3_600), lag_s=1)],
)
def test_refuses_a_state_of_another_method(seasoned: Forecaster, config: ForecastConfig) -> None:
    other = Forecaster(specs(NODES), config)
    with pytest.raises(ValueError, match="state"):
        other.restore(seasoned.state())
    assert other.second == -1


def test_refuses_a_state_that_lacks_something(seasoned: Forecaster) -> None:
    for name in seasoned.state():
        state = seasoned.state()
        del state[name]
        if name.startswith("template.day"):
            continue
        with pytest.raises(ValueError, match="lacks"):
            Forecaster(specs(NODES), CONFIG).restore(state)
