"""Rows 1 and 5: SIGKILL of agent and collector, at random and at every system call."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable

from e2e.faults.bench import Bench
from e2e.faults.rows import Case, Counts, row
from e2e.programs import Agent, DiedEarly, Program, children, until


def _dies(program: Program, within_s: float = 30) -> None:
    until(lambda: program.process.poll() is not None, within_s, "the fault that kills")


def _up(agent: Agent) -> None:
    until(lambda: agent.status().get("pid") == agent.pid, what="an agent")


@row(1, "agent SIGKILL at random")
def agent_at_random(case: Case) -> Counts:
    runs = case.pick(3, 100)
    with Bench(case) as bench:
        bench.begin()
        host = bench.host
        restarts_s = []
        for run in range(runs):
            time.sleep(case.chance.uniform(0.1, 2.0))
            host.kill()
            if not case.chance.randrange(4):
                time.sleep(case.chance.uniform(0, 1))
            began_s = time.monotonic()
            _up(host.start(bench.address))
            restarts_s.append(time.monotonic() - began_s)
            case.say(f"kill {run + 1} of {runs}")
        bench.more(2)
        counts = bench.finish(runs)
        counts.note = f"median start {statistics.median(restarts_s):.1f} s"
        return counts


@row(1, "agent SIGKILL at each call of append and send", "compiler")
def agent_at_calls(case: Case) -> Counts:
    runs = case.pick(4, 80)
    with Bench(case, faults=True) as bench:
        bench.begin()
        host = bench.host
        assert host.faults is not None
        for run in range(runs):
            if case.chance.random() < 0.25:  # while it starts
                host.running.kill()
                call, after = case.chance.randint(1, 25), bool(case.chance.randrange(2))
                host.faults.kill_at(call, after=after)
                host.start(bench.address)
            else:
                host.faults.kill_at(1 + run // 2 % 24, after=bool(run % 2))
            _dies(host.running)
            host.faults.kill_at(0)
            host.look()
            _up(host.start(bench.address))
            if not case.chance.randrange(5):
                bench.more(1)
            case.say(f"kill {run + 1} of {runs}")
        bench.more(2)
        return bench.finish(runs)


@row(5, "collector SIGKILL at random")
def collector_at_random(case: Case) -> Counts:
    runs = case.pick(3, 100)
    with Bench(case) as bench:
        bench.begin()
        for run in range(runs):
            time.sleep(case.chance.uniform(0.05, 2.0))
            bench.kill_collector()
            bench.start_collector()
            case.say(f"kill {run + 1} of {runs}")
        bench.more(2)
        return bench.finish(runs)


@row(5, "collector SIGKILL before commit, after commit before ack", "compiler")
def collector_at_calls(case: Case) -> Counts:
    runs = case.pick(5, 80)
    with Bench(case, collector_faults=True) as bench:
        bench.begin()
        faults = bench.collector_faults
        assert faults is not None
        for run in range(runs):
            bench.duplicates += bench.status().duplicates_absorbed
            faults.kill_at(1 + run // 2 % 16, after=bool(run % 2))
            _dies(bench.running)
            faults.kill_at(0)
            bench.start_collector()
            if not case.chance.randrange(4):
                bench.more(1)
            case.say(f"kill {run + 1} of {runs}")
        bench.more(2)
        return bench.finish(runs)


def _strace(call: str, number: int) -> list[str]:
    """Return what kills a program as it enters the ``number``-th such call of a thread."""
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    options = ["-f", "-qq", "-o", "/dev/null"]  # with --seccomp-bpf, signals are not injected
    return ["strace", *options, "-e", f"trace={call}", "-e", inject]


def _under_strace(case: Case, calls: tuple[str, ...], start: Callable[..., Program]) -> int:
    """Start a program under strace again and again; returns how often it was killed."""
    runs = 20
    for run in range(runs):
        call = calls[run % len(calls)]
        traced = start(prefix=_strace(call, 1 + run // len(calls)))
        try:
            _dies(traced)
        finally:
            for child in children(traced.pid):  # strace that is killed lets its tracee live
                os.kill(child, signal.SIGKILL)
        case.say(f"kill {run + 1} of {runs} at {call}")
    return runs


@row(1, "agent SIGKILL by strace, call by call", "strace", only_full=True)
def agent_by_strace(case: Case) -> Counts:
    calls = ("pwrite64", "fsync", "sendmsg", "rename")
    with Bench(case) as bench:
        bench.begin()
        host = bench.host
        host.running.kill()

        def start(prefix: list[str]) -> Program:
            host.look()
            return host.start(bench.address, prefix=prefix)

        runs = _under_strace(case, calls, start)
        _up(host.start(bench.address))
        bench.more(2)
        return bench.finish(runs)


@row(5, "collector SIGKILL by strace, call by call", "strace", only_full=True)
def collector_by_strace(case: Case) -> Counts:
    with Bench(case) as bench:
        bench.begin()

        def start(prefix: list[str]) -> Program:
            if bench.running.process.poll() is None:
                bench.kill_collector()
            try:
                return bench.start_collector(prefix=prefix)
            except DiedEarly as died:
                return died.program

        runs = _under_strace(case, ("pwrite64", "fsync,fdatasync", "sendmsg"), start)
        bench.start_collector()
        bench.more(2)
        return bench.finish(runs)
