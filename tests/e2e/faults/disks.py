"""Rows 4, 6, 8 and 9: power cuts, full disks and disks that answer with an error."""

from __future__ import annotations

import errno
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from e2e.faults import dumps
from e2e.faults.bench import Bench, Host
from e2e.faults.rows import Case, Counts, row
from e2e.programs import until
from fakes.machine_faults import WRITING, Faults, Kind

Act = Callable[[], object]


@row(4, "agent power cut: unsynced bytes and names dropped by chance", "compiler")
def agent_power(case: Case) -> Counts:
    runs = case.pick(3, 40)
    with Bench(case, power=True) as bench:
        bench.begin()
        host = bench.host
        assert host.faults is not None
        undone = 0
        for run in range(runs):
            time.sleep(case.chance.uniform(0.2, 1.5))
            if case.chance.randrange(2):
                host.faults.kill_at(case.chance.randint(1, 8), after=bool(run % 2))
                until(lambda: host.running.process.poll() is not None, what="the cut")
                host.faults.kill_at(0)
            else:
                host.running.kill()
            undone += host.faults.cut_power(case.chance)
            host.look()
            host.start(bench.address)
            until(lambda: host.running.status().get("pid") == host.running.pid, what="an agent")
            case.say(f"cut {run + 1} of {runs}")
        bench.more(2)
        counts = bench.finish(runs)
        counts.note = f"{undone} unsynced changes lost"
        return counts


@row(6, "collector power cut: unsynced bytes and names dropped by chance", "compiler")
def collector_power(case: Case) -> Counts:
    runs = case.pick(3, 40)
    with Bench(case, collector_power=True) as bench:
        bench.begin()
        faults = bench.collector_faults
        assert faults is not None
        undone = 0
        for run in range(runs):
            time.sleep(case.chance.uniform(0.2, 1.5))
            acked = dumps.stored(bench.store)
            if case.chance.randrange(2):
                bench.duplicates += bench.status().duplicates_absorbed
                faults.kill_at(case.chance.randint(1, 12), after=bool(run % 2))
                until(lambda: bench.running.process.poll() is not None, what="the cut")
                faults.kill_at(0)
            else:
                bench.kill_collector()
            undone += faults.cut_power(case.chance)
            bench.start_collector()
            gone = acked - dumps.stored(bench.store)
            assert not gone, f"I1 {len(gone)} records that were committed are gone"
            case.say(f"cut {run + 1} of {runs}")
        bench.more(2)
        counts = bench.finish(runs)
        counts.note = f"{undone} unsynced changes lost"
        return counts


def _degraded_and_back(case: Case, bench: Bench, host: Host, breaks: Act, mends: Act) -> None:
    """Break the agent's disk for a while; it says so, goes on, and needs no restart."""
    breaks()
    until(lambda: host.running.status().get("state") == "degraded", 20, "state degraded")
    time.sleep(case.pick(2, 10))
    host.look()
    payloads = host.running.status()["sensing"]["payloads"]
    until(lambda: host.running.status()["sensing"]["payloads"] > payloads, 10, "sampling goes on")
    mends()
    until(lambda: host.running.status().get("state") == "ok", 30, "state ok without a restart")
    bench.more(1)


def _disk_error(case: Case, error: int, *kinds: Kind) -> Counts:
    runs = case.pick(1, 3)
    with Bench(case, faults=True) as bench:
        bench.begin()
        host = bench.host
        faults = host.faults
        assert faults is not None
        epochs = {key[2] for key in dumps.stored(bench.store)}
        for _ in range(runs):
            breaks = partial(faults.fail, error, *kinds)
            _degraded_and_back(case, bench, host, breaks, partial(faults.fail, 0, *kinds))
        counts = bench.finish(runs)
        assert bench.status().conflicts == 0, "a sequence was used twice"
        if error == errno.EIO:
            new = {key[2] for key in dumps.stored(bench.store)} - epochs
            assert new, "a failed fsync begins a new spool epoch"
        return counts


@row(8, "agent's disk: ENOSPC of every write", "compiler")
def agent_full(case: Case) -> Counts:
    return _disk_error(case, errno.ENOSPC, Kind.OPEN, Kind.WRITE)


@row(8, "agent's disk: EIO of every fsync", "compiler")
def agent_eio(case: Case) -> Counts:
    return _disk_error(case, errno.EIO, Kind.SYNC)


@row(8, "agent's disk: read-only", "compiler")
def agent_read_only(case: Case) -> Counts:
    return _disk_error(case, errno.EROFS, *WRITING)


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def _fill(folder: Path) -> Path:
    """Take every byte that is left."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return filler


@row(8, "agent's disk: a full tmpfs of 1 MiB", "tmpfs")
def agent_tmpfs(case: Case) -> Counts:
    spool = {"spool": {"quota": "512KiB", "segment": "32KiB"}}
    with Bench(case, settings=None) as bench:
        bench.host.settings = {**bench.host.settings, **spool}
        with tmpfs(bench.host.state, "1m"):
            bench.begin()
            host = bench.host
            _degraded_and_back(
                case, bench, host,
                lambda: _fill(host.state), (host.state / "filler").unlink,
            )  # fmt: skip
            counts = bench.finish()
            host.end()
        return counts


def _refuses_and_resumes(case: Case, bench: Bench, breaks: Act, mends: Act) -> None:
    host = bench.host
    breaks()
    time.sleep(1.5)
    frozen = bench.status().batches_stored
    waiting = host.running.status()["spool"]["unacked"]
    until(lambda: host.running.status()["spool"]["unacked"] > waiting + 1, 20, "a backlog")
    time.sleep(case.pick(1, 10))
    with bench.running.client() as client:
        assert any(client.windows(host.id.hex())), "reads are served from a full disk"
        assert client.status().batches_stored == frozen, "nothing is stored"
    host.look()
    stored = dumps.stored(bench.store)
    assert host.seen - stored, "what is not stored is not acked"
    mends()
    until(lambda: not host.running.status()["spool"]["unacked"], 60, "the backlog drained")


@row(9, "collector's disk: ENOSPC of every write", "compiler")
def collector_full(case: Case) -> Counts:
    runs = case.pick(1, 3)
    with Bench(case, collector_faults=True) as bench:
        bench.begin()
        faults: Faults | None = bench.collector_faults
        assert faults is not None
        for _ in range(runs):
            _refuses_and_resumes(
                case, bench,
                lambda: faults.fail(errno.ENOSPC, Kind.WRITE), lambda: faults.fail(0, Kind.WRITE),
            )  # fmt: skip
        return bench.finish(runs)


@row(9, "collector's disk: EIO of every fsync", "compiler", only_full=True)
def collector_eio(case: Case) -> Counts:
    with Bench(case, collector_faults=True) as bench:
        bench.begin()
        faults = bench.collector_faults
        assert faults is not None
        _refuses_and_resumes(
            case, bench,
            lambda: faults.fail(errno.EIO, Kind.SYNC), lambda: faults.fail(0, Kind.SYNC),
        )  # fmt: skip
        return bench.finish()


@row(9, "collector's disk: a full tmpfs", "tmpfs", only_full=True)
def collector_tmpfs(case: Case) -> Counts:
    with Bench(case) as bench:
        state = bench.collector_folder / "state"
        with tmpfs(state, "8m"):
            bench.begin()
            _refuses_and_resumes(
                case, bench, lambda: _fill(state), (state / "filler").unlink
            )  # fmt: skip
            counts = bench.finish()
            bench.kill_collector()
        return counts
