"""Row 16: two agents with one identity, and a machine that was rolled back to a snapshot."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from typing import Any

from chipwatt.cli import toml
from chipwatt.core.errors import ConfigError
from e2e.faults import dumps
from e2e.faults.bench import Bench, Host
from e2e.faults.rows import Case, Counts, row
from e2e.programs import NS, Agent, until


@row(16, "snapshot rollback: the spool of some seconds ago")
def rollback(case: Case) -> Counts:
    runs = case.pick(1, 10)
    with Bench(case) as bench:
        bench.begin()
        host = bench.host
        spool, snapshot = host.state / "spool", host.folder / "snapshot"
        for _ in range(runs):
            host.kill()
            shutil.rmtree(snapshot, ignore_errors=True)
            shutil.copytree(spool, snapshot)
            host.start(bench.address)
            bench.more(3)
            host.kill()
            with bench.running.client() as client:
                first = [repr(window) for window in client.windows(host.id.hex())]
            shutil.rmtree(spool)
            shutil.copytree(snapshot, spool)
            conflicts = bench.status().conflicts
            host.start(bench.address)
            until(lambda: bench.status().conflicts > conflicts, 30, "a conflict")  # noqa: B023
            bench.more(2)
            with bench.running.client() as client:
                now = {repr(window) for window in client.windows(host.id.hex())}
            assert set(first) <= now, "the first writer's data changed"
        host.rest()
        assert host.running.stop(60) == 0
        assert "two agents with one identity" in bench.running.said(), "nobody is told"
        return _count(bench, runs)


@row(16, "two agents on copies of one state folder")
def clones(case: Case) -> Counts:
    with Bench(case) as bench:
        bench.begin()
        host = bench.host
        host.kill()
        with bench.running.client() as client:
            first = {repr(window) for window in client.windows(host.id.hex())}
        twin = host.folder.with_name("twin")
        shutil.copytree(host.state / "spool", twin / "state" / "spool")
        host.start(bench.address)
        with Agent(twin, bench.address, _twin_of(host)) as other:
            until(lambda: bench.status().conflicts > 0, 40, "a conflict")
            bench.more(case.pick(2, 30))
            other.kill()
        bench.more(1)
        with bench.running.client() as client:
            now = {repr(window) for window in client.windows(host.id.hex())}
        assert first <= now, "the first writer's data changed"
        host.rest()
        assert host.running.stop(60) == 0
        assert "two agents with one identity" in bench.running.said(), "nobody is told"
        return _count(bench, 1)


@row(16, "two agents with two state folders")
def twins(case: Case) -> Counts:
    with Bench(case) as bench:
        bench.begin()
        host = bench.host
        twin = host.folder.with_name("twin")
        with Agent(twin, bench.address, host.settings) as other:
            assert other.process.wait(90) == ConfigError.exit_code
            assert str(host.state) in other.said(), "the other one is not named"
        with Agent(twin, bench.address, _twin_of(host)) as other:
            until(lambda: _left_out(bench) > 0, 60, "rows left out")
            bench.more(case.pick(2, 30))
            other.kill()
        bench.more(1)
        with bench.running.client() as client:
            spans = sorted(
                (str(w.device), w.domain, w.start_unix_ns, w.start_unix_ns + w.duration_ns)
                for w in client.windows(host.id.hex())
            )
        for before, after in pairwise(spans):
            assert before[:2] != after[:2] or before[3] <= after[2] + NS // 10, "told twice"
        host.rest()
        assert host.running.stop(60) == 0
        assert "state folders of their own" in bench.running.said(), "nobody is told"
        return replace(_count(bench, 1), note=f"{_left_out(bench)} rows left out")


def _twin_of(host: Host) -> dict[str, Any]:
    """Return the settings of an agent that another one does not keep from starting."""
    return toml.merged(host.settings, {"sensing": {"exclusive": False}})


def _left_out(bench: Bench) -> int:
    with bench.running.client() as client:
        return sum(host.counted.get("twin", 0) for host in client.hosts())


def _count(bench: Bench, runs: int) -> Counts:
    """Count without the energy's audit: what a clone said in the first one's place is set aside."""
    status = bench.status()
    bench.host.look()
    stored = dumps.stored(bench.store)
    written = len(stored | bench.host.seen)
    assert "Traceback" not in bench.running.said()
    note = f"{status.conflicts} conflicts quarantined"
    return Counts(
        runs, written, written, len(stored), status.duplicates_absorbed, status.gaps_stored, note
    )
