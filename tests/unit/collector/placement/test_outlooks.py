"""Outlooks over time: reloads, restarts, damaged memory, clocks that jump, snapshots by id."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chipwatt.collector.forecast.contract import Predictor
from chipwatt.collector.placement.outlook import MOST_SERVED, Outlook
from chipwatt.collector.placement.outlooks import Outlooks
from chipwatt.collector.placement.topology import Topology
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.tables import Array
from unit.collector.placement.fleet import HOSTS, Fleet, text

MINUTE = (60, 0.99)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Return a fleet that was heard for ten minutes before its collector started."""
    made = Fleet(tmp_path)
    made.history()
    made.outlooks.begin()
    return made


def predicted(outlook: Outlook) -> dict[str, tuple[float, int]]:
    found = outlook.prediction(*MINUTE)
    pairs = zip(found.peak_mw.tolist(), found.predictor.tolist(), strict=True)
    return dict(zip(outlook.topology.index, pairs, strict=True))


def calibrated(outlook: Outlook) -> list[tuple[int, int]]:
    trusts = [outlook.trust(position, *MINUTE) for position in range(len(outlook.topology.nodes))]
    return [(trust.coverage_7d_ppm, trust.scores) for trust in trusts]


def test_ten_minutes_of_telemetry_calibrate_the_minute(fleet: Fleet) -> None:
    outlook = fleet.outlooks.latest()
    position = outlook.topology.index["h3"]
    trust = outlook.trust(position, *MINUTE)
    assert trust.predictor is Predictor.CONFORMAL
    assert trust.scores >= 50
    assert trust.coverage_7d_ppm > 900_000
    # Means of 100 to 180 W with in-bin peaks of 5 W more.
    assert 180_000 < outlook.peak_mw(60, 0.9)[position] <= 190_000


def test_a_killed_collector_predicts_as_before(fleet: Fleet) -> None:
    before = fleet.run(65)
    wanted, scores = predicted(before), calibrated(before)
    again = fleet.opened()  # nobody closed the first: what a kill leaves
    again.begin()
    after = again.latest()
    assert calibrated(after) == scores
    assert predicted(after) == wanted
    # All of that stands in the file: the last ten minutes alone do not make as many scores.
    (fleet.folder / "forecast.npz").unlink()
    cold = fleet.opened()
    cold.begin()
    assert max(n for _, n in calibrated(cold.latest())) < max(n for _, n in scores)


def test_closing_writes_the_last_seconds_down(fleet: Fleet) -> None:
    fleet.run(5)
    written = (fleet.folder / "forecast.npz").read_bytes()
    fleet.outlooks.close()
    assert (fleet.folder / "forecast.npz").read_bytes() != written


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_a_damaged_memory_is_set_aside(
    fleet: Fleet, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = fleet.folder / "forecast.npz"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage is None else damage)
    again = fleet.opened()
    again.begin()
    assert (fleet.folder / "forecast.npz.refused").exists()
    assert "forecast state set aside" in caplog.text
    assert again.latest().prediction(*MINUTE).predictor[3] == Predictor.CONFORMAL
    # A cold start writes its own memory again.
    assert path.stat().st_size > 1_000


def test_nothing_is_learned_before_the_memory_is_read(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.history()
    outlook = fleet.run(3)
    assert set(outlook.prediction(*MINUTE).predictor.tolist()) == {int(Predictor.RECENT_MAX)}
    fleet.outlooks.close()
    assert not (tmp_path / "forecast.npz").exists()


def test_a_changed_file_comes_into_force_and_what_was_learned_goes_over(fleet: Fleet) -> None:
    old = fleet.outlooks.tick()
    wanted = predicted(old)
    fleet.path.write_text(text(hosts=HOSTS - 1, rack_w=1_200))
    new = fleet.outlooks.tick()
    assert new.topology.version > old.topology.version
    assert "h7" not in new.topology.index
    assert predicted(new)["h0"][1] == Predictor.CONFORMAL
    for node_id in ("h0", "h6", "r0"):  # r0 has lost nothing
        assert predicted(new)[node_id] == wanted[node_id]
    # Old snapshots keep their own topology.
    assert old.topology.index["h7"]
    since = new.as_of_unix_ns
    assert fleet.outlooks.topology_at(since) is new.topology
    assert fleet.outlooks.topology_at(since - 1) is None or (
        fleet.outlooks.topology_at(since - 1) is old.topology
    )


def test_a_broken_file_leaves_the_old_topology(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    old = fleet.outlooks.topology
    fleet.path.write_text(text(extra='[[node]]\nid = "x"\nkind = "rack"\nparents = ["r9"]\n'))
    assert fleet.outlooks.tick().topology is old
    assert "unknown parent 'r9'" in fleet.outlooks.topology_error
    assert caplog.text.count("topology refused") == 1
    fleet.outlooks.tick()
    assert caplog.text.count("topology refused") == 1
    fleet.path.unlink()
    assert fleet.outlooks.tick().topology is old
    assert "cannot be read" in fleet.outlooks.topology_error
    fleet.path.write_text(text())
    # The same nodes as before: nothing new comes into force.
    assert fleet.outlooks.tick().topology is old
    assert fleet.outlooks.topology_error == ""


def test_a_reload_on_demand_reads_whatever_looks_the_same(fleet: Fleet) -> None:
    old = fleet.outlooks.topology
    status = fleet.path.stat()
    fleet.path.write_text(text(rack_w=1_501))
    assert fleet.path.stat().st_size == status.st_size
    os.utime(fleet.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fleet.outlooks.tick().topology is old
    fleet.outlooks.reload()
    assert fleet.outlooks.tick().topology.version > old.version


def test_half_a_rack_falls_silent(fleet: Fleet) -> None:
    quiet = [n for n in range(HOSTS) if n not in (0, 2)]  # h0 and h2 of r0, which has four
    before_mw = fleet.run(1).peak_mw(60, 0.9)
    after = fleet.run(75, quiet)
    rack = after.topology.index["r0"]
    trust = after.trust(rack, *MINUTE)
    assert [quality.name for quality in trust.quality][:2] == ["STALE", "PARTIAL"]
    assert trust.reporting_ppm == 500_000
    assert trust.staleness_ms == 74_000
    # Two nameplates of 300 W, and what the two others are predicted to draw.
    peak_mw = after.peak_mw(60, 0.9)
    assert 600_000 + 200_000 <= peak_mw[rack] <= 600_000 + 2 * 200_000
    assert peak_mw[rack] > before_mw[rack]
    silent = after.topology.index["h0"]
    assert peak_mw[silent] == 300_000
    assert after.trust(silent, *MINUTE).predictor is Predictor.NAMEPLATE
    other = after.topology.index["r1"]
    assert after.trust(other, *MINUTE).quality == ()


def test_outlooks_can_be_found_by_id_for_a_minute(fleet: Fleet) -> None:
    named, unnamed = fleet.run(1), fleet.run(1)
    name = named.id
    fleet.run(1)
    assert fleet.outlooks.get(name) is None  # nobody knew it while it was the newest
    current = fleet.outlooks.latest()
    name = current.id
    fleet.run(59)
    assert fleet.outlooks.get(name) is current
    fleet.run(2)
    assert fleet.outlooks.get(name) is None
    assert fleet.outlooks.get("unheard-of") is None
    assert unnamed is not current


def test_only_so_much_is_kept(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [0.0]
    outlooks = Outlooks(
        fleet.latest, fleet.clock.unix_ns, reserved_mw=lambda t: np.full(len(t.nodes), held[0])
    )
    nodes = len(outlooks.latest().topology.nodes)
    monkeypatch.setattr("chipwatt.collector.placement.outlooks._KEPT_BYTES", nodes * 8 * (32 + 50))
    names = []
    for _ in range(100):
        held[0] += 1.0
        names.append(outlooks.latest().id)  # as who ranks between two reservations
    found = [name for name in names if outlooks.get(name) is not None]
    assert found == names[-len(found) :]
    assert len(found) == 51
    fleet.wait(1)
    assert outlooks.tick().id  # another moment takes the place of 32 states
    found = [name for name in names if outlooks.get(name) is not None]
    assert found == names[-19:]


def test_a_moment_does_not_change(fleet: Fleet) -> None:
    moment = fleet.outlooks.latest()
    positions = np.arange(len(moment.topology.nodes))
    wanted = (moment.peak_mw(*MINUTE).copy(), moment.now_mw.copy(), moment.mean_mw.copy())
    other = fleet.opened()
    other.begin()
    then = other.latest()  # asked at once for what `moment` is asked for later
    limit = moment.peak_mw(*MINUTE) * 0.97
    lower, risk = then.peak_mw(60, 0.7), then.exceed_ppm(60, limit)
    old = moment.history(positions)
    fleet.power = lambda _number, _second: 250_000
    fleet.run(40)
    assert (fleet.outlooks.latest().peak_mw(60, 0.7) > lower).all()
    assert (moment.peak_mw(60, 0.7) == lower).all()
    assert (moment.exceed_ppm(60, limit) == risk).all()
    assert moment.holds(60)
    assert not moment.holds(3_600)
    assert (moment.peak_mw(*MINUTE) == wanted[0]).all()
    assert (moment.now_mw == wanted[1]).all()
    assert (moment.mean_mw == wanted[2]).all()
    assert (moment.history(positions) == old).all()


def test_reservations_make_a_moment_of_their_own(fleet: Fleet) -> None:
    held = [0.0]

    def reserved_mw(topology: Topology) -> Array:
        return np.full(len(topology.nodes), held[0])

    outlooks = Outlooks(fleet.latest, fleet.clock.unix_ns, reserved_mw=reserved_mw)
    first = outlooks.latest()
    assert outlooks.latest() is first
    held[0] = 5.0
    second = outlooks.latest()
    assert second.id != first.id
    assert second.reserved_mw.tolist() == [5.0] * len(second.topology.nodes)
    assert first.reserved_mw.max() == 0.0
    assert second.now_mw is not first.reserved_mw
    assert (second.peak_mw(*MINUTE) == first.peak_mw(*MINUTE)).all()


def test_a_wall_clock_set_back_is_followed(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    scores = calibrated(fleet.run(1))
    fleet.clock.step_wall(-3_600 * NS_PER_S)
    fleet.history()
    outlook = fleet.run(20)
    assert "the wall clock was set back" in caplog.text
    assert outlook.as_of_unix_ns == fleet.clock.unix_ns()
    assert calibrated(outlook)[-1][1] >= scores[-1][1]


def test_what_is_asked_often_is_ready_before_it_is_asked(fleet: Fleet) -> None:
    fleet.outlooks.latest().peak_mw(3_600, 0.5)
    later = fleet.run(2)
    prepared = later.prepare((3_600, 0.5))
    assert later.prepare((3_600, 0.5)) is prepared
    assert later.touched == set()
    with pytest.raises(KeyError):
        later.peak_mw(61, 0.5)
    with pytest.raises(ValueError, match="quantile"):
        later.peak_mw(60, 1.5)


def test_exceeding_a_limit_agrees_with_the_prediction(fleet: Fleet) -> None:
    outlook = fleet.outlooks.latest()
    peak = outlook.peak_mw(*MINUTE)
    nodes = len(outlook.topology.nodes)
    at_peak = outlook.exceed_ppm(60, peak)
    conformal = outlook.prediction(*MINUTE).predictor == Predictor.CONFORMAL
    assert (at_peak[conformal] <= 50_000).all()  # few scores: a coarse scale
    assert (outlook.exceed_ppm(60, np.zeros(nodes)) == 1_000_000).all()
    assert (outlook.exceed_ppm(60, np.full(nodes, np.inf)) == 0).all()
    lower = outlook.exceed_ppm(60, peak * 0.9)
    assert (lower >= at_peak).all()
    assert replace(outlook.trust(0)).predictor is not None


def test_whoever_asks_for_everything_slows_no_tick(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.history()
    outlook = fleet.run(1)
    for tenths in range(5_000, 9_990, 10):
        outlook.prediction(600, tenths / 10_000)
    assert len(outlook._served) <= MOST_SERVED
    newest = fleet.run(1)
    assert len(newest._served) <= 16
