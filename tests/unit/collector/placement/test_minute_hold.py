"""What is held of a minute: whole minutes in steps, and what follows from them alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chipwatt.collector.forecast.contract import Predictor
from chipwatt.collector.placement.minute_hold import QUANTILES, chances
from chipwatt.collector.placement.shown_outlook import ShownOutlooks
from fakes.telemetry_records import a_host
from unit.collector.placement.fleet import HOSTS, START_S, Fleet, W, text
from unit.collector.placement.telling import ASKED, FINAL_S, NODES, of, told

SECRET = bytes(range(16))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path)
    made.wait(FINAL_S)
    made.history()
    made.outlooks.begin()
    return made


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
        outlook = ShownOutlooks(fleet.outlooks, SECRET).latest()
        told_of.append((told(outlook), told(outlook.exact)))
    assert told_of[0][0] == told_of[1][0]
    assert told_of[0][1] != told_of[1][1]


def test_what_is_shown_is_the_last_minute_in_steps(fleet: Fleet) -> None:
    fleet.run(75)
    outlook = ShownOutlooks(fleet.outlooks).latest()
    at = np.array(of(outlook, NODES))
    for values in (outlook.now_mw, outlook.peak_1s_mw, outlook.peak_mw(*ASKED)):
        assert (values[at] % (20 * W) == 0).all()  # a fifteenth of 300 W, whatever is summed
    minute = np.array([[fleet.power(n, START_S + s) for s in range(60)] for n in range(HOSTS)])
    of_hosts = outlook.now_mw[of(outlook, tuple(f"h{n}" for n in range(HOSTS)))]
    assert (np.abs(of_hosts - minute.mean(axis=1)) < 20 * W).all()
    assert outlook.now_mw[0] == of_hosts.sum(), "nodes tell nothing that hosts do not"
    cold = outlook.prediction(*ASKED)
    assert (cold.predictor[at] == Predictor.NAMEPLATE).all()
    assert cold.peak_mw[at].tolist() == [300 * W * n for n in (8, 4, 4, *[1] * HOSTS)]


def test_minutes_begin_and_end_where_those_of_the_wall_clock_do(tmp_path: Path) -> None:
    """One second of 1300 W is 20 W of its minute, were it the first or the last."""
    for at_s in (START_S - 180, START_S - 121):

        def power(_number: int, second: int, at_s: int = at_s) -> int:
            return (1_300 if second == at_s else 100) * W

        (tmp_path / str(at_s)).mkdir()
        fleet = Fleet(tmp_path / str(at_s), power)
        fleet.wait(FINAL_S)
        fleet.history()
        for _ in range(60):  # however late in the next minute it is made
            outlook = ShownOutlooks(fleet.outlooks).latest()
            minutes = outlook.history(np.array(of(outlook, ("h3",))))[0].reshape(-1, 60)
            assert (minutes == minutes[:, :1]).all()
            assert minutes[:, 0].tolist() == [100 * W] * 7 + [120 * W] + [100 * W] * 2
            fleet.run(1)


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
    assert (outlook.now_mw[at] < 110 * W * np.array([8, 4, 4] + [1] * 8)).all()
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


def test_nor_are_half_steps_of_a_feed(tmp_path: Path) -> None:
    """Half of three hosts is twenty-two steps and a half."""
    hosts = "".join(
        f'[[node]]\nid = "h{n}"\nkind = "host"\nrated = "300W"\nhost = "{a_host(n).hex()}"\n'
        'parents = [{ id = "a", feed = "A", share = 0.5 }, { id = "b", feed = "B", share = 0.5 }]\n'
        for n in range(3)
    )
    feeds = "".join(f'[[node]]\nid = "{name}"\nkind = "feed"\nbudget = "450W"\n' for name in "ab")
    fleet = Fleet(tmp_path)
    fleet.path.write_text(feeds + hosts)
    fleet.outlooks = fleet.opened()
    fleet.history(range(3))
    outlook = ShownOutlooks(fleet.outlooks).latest()
    feed = outlook.topology.index["a"]
    assert outlook.peak_mw(*ASKED)[feed] == 450 * W
    assert outlook.exceed_ppm(600, np.full(5, 450.0 * W))[feed] == 0


def test_probabilities_are_the_inverse_of_what_is_predicted(tmp_path: Path) -> None:
    """And of nothing finer: a limit between two steps is the lower one."""
    fleet = Fleet(tmp_path, lambda n, s: (100 + 80 * (s // 60 % 5 == 0) + (n + s) % 7 * 5) * W)
    fleet.history()
    fleet.outlooks.begin()
    fleet.run(481)
    outlook = ShownOutlooks(fleet.outlooks).latest()
    at = np.array(of(outlook, ("h0", "h5")))
    assert (outlook.prediction(60, 0.5).predictor[at] == Predictor.BY_THE_MINUTE).all()
    assert (outlook.peak_mw(60, 0.73)[at] % (20 * W) == 0).all()
    for watts in range(20, 320, 13):
        limit_mw = np.full(len(outlook.topology.nodes), float(watts * W))
        risk = outlook.exceed_ppm(60, limit_mw)[at]
        lower = np.full(len(limit_mw), float(watts // 20 * 20 * W))
        assert (risk == outlook.exceed_ppm(60, lower)[at]).all()
        for host, ppm in zip(at, risk, strict=True):
            below = [q for q in QUANTILES if outlook.peak_mw(60, q)[host] <= watts * W]
            certain = watts >= 300
            least = 0 if certain else min((round((1 - q) * 1e6) for q in below), default=10**6)
            assert ppm == least
    for asked, answered in ((0.5, 0.5), (0.73, 0.8), (0.985, 0.99), (0.999, 0.999)):
        assert (outlook.peak_mw(60, asked) == outlook.peak_mw(60, answered)).all()
    assert (outlook.mean_mw[at] < outlook.peak_1s_mw[at]).all()


def test_roundings_are_right_on_average_and_the_same_each_time() -> None:
    names = [f"h{number}" for number in range(20_000)]
    share = chances(SECRET, names, 30_000_000)
    assert share.shape == (20_000, 8)
    assert share.min() >= 0.0
    assert share.max() < 1.0
    counts = np.histogram(share, bins=20, range=(0.0, 1.0))[0]
    assert np.abs(counts / 8_000 - 1.0).max() < 0.06
    assert abs(np.corrcoef(share[:, 0], share[:, 1])[0, 1]) < 0.03
    assert (chances(SECRET, names[7:9], 30_000_001)[:, :-1] == share[7:9, 1:]).all()
    assert (chances(bytes(16), names, 30_000_000) != share).mean() > 0.999


def test_sums_of_many_are_not_off_together(tmp_path: Path) -> None:
    """A hundred hosts that idle at 1.3 steps: not a hundred times one step."""
    hosts = "".join(
        f'[[node]]\nid = "h{n}"\nkind = "host"\nrated = "300W"\nparents = ["site"]\n'
        f'host = "{a_host(n).hex()}"\n'
        for n in range(100)
    )
    fleet = Fleet(tmp_path, lambda _n, _s: 26 * W)
    fleet.path.write_text(f'[[node]]\nid = "site"\nkind = "site"\n{hosts}')
    fleet.outlooks = fleet.opened()
    fleet.history(range(100))
    outlook = ShownOutlooks(fleet.outlooks, SECRET).latest()
    assert abs(outlook.mean_mw[0] - 2_600 * W) < 120 * W


def test_a_host_says_no_more_beside_small_ones_and_chips_are_rated(tmp_path: Path) -> None:
    nodes = [("big", "10000W", 3_456)] + [(f"small{n}", "100W", 50) for n in range(9)]
    given = "".join(
        f'[[node]]\nid = "{name}"\nkind = "host"\nrated = "{rated}"\nparents = ["rack"]\n'
        f'host = "{a_host(n).hex()}"\n'
        for n, (name, rated, _) in enumerate(nodes)
    )
    chip = '[[node]]\nid = "chip"\nkind = "chip"\nparents = ["big"]\nrated = "700W"\n'
    fleet = Fleet(tmp_path, lambda n, _s: nodes[n][2] * W)
    fleet.path.write_text(f'[[node]]\nid = "rack"\nkind = "rack"\n{given}{chip}')
    fleet.outlooks = fleet.opened()
    fleet.history(range(10))
    outlook = ShownOutlooks(fleet.outlooks, SECRET).latest()
    rack, big, chip_at = of(outlook, ("rack", "big", "chip"))
    small = outlook.now_mw[of(outlook, tuple(f"small{n}" for n in range(9)))]
    assert abs(outlook.now_mw[rack] - small.sum() - outlook.now_mw[big]) <= 1
    assert outlook.peak_mw(*ASKED)[chip_at] == 700 * W


def test_where_nobody_knows_the_budget_is_used_up_and_no_more(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.path.write_text('[[node]]\nid = "h"\nkind = "host"\nbudget = "1000W"\nhost = "nobody"\n')
    fleet.outlooks = fleet.opened()
    outlook = ShownOutlooks(fleet.outlooks, SECRET).latest()
    assert outlook.peak_mw(*ASKED).tolist() == [1_000 * W]
    assert outlook.room(*ASKED)[0].tolist() == [0]
