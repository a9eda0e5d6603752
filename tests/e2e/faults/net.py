"""Rows 7 and 10: networks that are gone, lossy or silent, and collectors that are slow."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chipwatt.cli import toml
from chipwatt.core.model import Domain, Flag
from e2e.faults import dumps
from e2e.faults.bench import Bench, Host
from e2e.faults.rows import Case, Counts, row
from e2e.programs import until
from fakes.machine_faults import Kind
from fakes.relay import Relay

NOTICED_S = 30
"""A half-open peer is found within this."""


def begin(bench: Bench, address: str) -> Host:
    """Start the collector, and an agent that reaches it by another address."""
    bench.start_collector()
    bench.host.start(address)
    until(lambda: bench.status().device_windows_stored > 1, 30, "the first second")
    bench.host.play()
    return bench.host


def drained(host: Host, within_s: float = 60) -> None:
    until(lambda: host.running.status()["spool"]["unacked"] <= 1, within_s, "the backlog drained")


@row(7, "partition: every connection reset, none accepted")
def partition(case: Case) -> Counts:
    runs = case.pick(1, 4)
    with Bench(case) as bench, Relay(bench.address, case.chance.randrange(1 << 30)) as relay:
        host = begin(bench, relay.address)
        for _ in range(runs):
            relay.cut()
            time.sleep(case.pick(4, 30))
            host.look()
            assert host.waiting >= case.pick(2, 20), "records wait in the spool"
            relay.mend()
            drained(host)
        return bench.finish(runs)


@row(7, "half-open peer: silence both ways", only_full=True)
def half_open(case: Case) -> Counts:
    with Bench(case) as bench, Relay(bench.address) as relay:
        host = begin(bench, relay.address)
        relay.hold()
        began_s = time.monotonic()
        gone = "the silence is noticed"
        until(lambda: not host.running.status()["uplink"]["connected"], NOTICED_S + 2, gone)
        noticed_s = time.monotonic() - began_s
        host.look()
        relay.cut()
        relay.mend()
        drained(host)
        counts = bench.finish()
        counts.note = f"noticed after {noticed_s:.0f} s"
        return counts


@row(7, "500 ms delay each way and 30 % loss, by a relay")
def lossy(case: Case) -> Counts:
    with Bench(case) as bench, Relay(bench.address, case.chance.randrange(1 << 30)) as relay:
        host = begin(bench, relay.address)
        relay.delay_s, relay.loss = 0.5, 0.3
        bench.more(case.pick(3, 60), 120)
        host.look()
        relay.delay_s, relay.loss = 0.0, 0.0
        drained(host)
        return bench.finish()


@contextmanager
def apart(name: str, subnet: int) -> Iterator[tuple[str, list[str]]]:
    """A network namespace on a wire of its own; yields our address and what runs in it."""

    def do(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    here, there = f"{name}h", f"{name}t"
    do("ip", "netns", "add", name)
    try:
        do("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        do("ip", "address", "add", f"10.203.{subnet}.1/24", "dev", here)
        do("ip", "link", "set", here, "up")
        inside = ("ip", "-n", name)
        do(*inside, "address", "add", f"10.203.{subnet}.2/24", "dev", there)
        do(*inside, "link", "set", there, "up")
        yield f"10.203.{subnet}.1", ["ip", "netns", "exec", name]
    finally:
        subprocess.run(("ip", "netns", "del", name), check=False, capture_output=True)


@contextmanager
def wired(case: Case) -> Iterator[tuple[Bench, Host, str]]:
    """An agent in a network namespace; yields the name of the wire's end on our side."""
    number = case.chance.randrange(1, 250)
    name = f"cw{os.getpid() % 10000}x{number}"
    over_network = {"insecure_plaintext_over_network": True}
    with Bench(case, settings=over_network) as bench, apart(name, number) as (address, prefix):
        bench.address = bench.address.replace("127.0.0.1", address)
        host = bench.host
        host.settings = toml.merged(host.settings, {"uplink": over_network})
        bench.start_collector()
        host.start(bench.address, prefix=prefix)
        until(lambda: bench.status().device_windows_stored > 1, 30, "the first second")
        host.play()
        yield bench, host, f"{name}h"


@row(7, "partition: the link of a network namespace down", "netns")
def link_down(case: Case) -> Counts:
    with wired(case) as (bench, host, wire):
        subprocess.run(("ip", "link", "set", wire, "down"), check=True)
        time.sleep(case.pick(5, 60))
        host.look()
        assert host.waiting >= case.pick(3, 50), "records wait in the spool"
        # The address itself stays up: queries go on while the wire is cut.
        subprocess.run(("ip", "link", "set", wire, "up"), check=True)
        drained(host, 90)
        return bench.finish()


@row(7, "500 ms delay and 30 % loss, by tc netem", "netem", only_full=True)
def netem(case: Case) -> Counts:
    with wired(case) as (bench, host, wire):
        rule = ("root", "netem", "delay", "500ms", "loss", "30%")
        subprocess.run(("tc", "qdisc", "add", "dev", wire, *rule), check=True)
        bench.more(case.pick(3, 60), 180)
        host.look()
        subprocess.run(("tc", "qdisc", "del", "dev", wire, "root"), check=True)
        drained(host)
        return bench.finish()


@row(7, "outage longer than the quota holds: merged, not dropped")
def over_quota(case: Case) -> Counts:
    """The sum stays exact while time resolution of the oldest goes."""
    spool = {"spool": {"quota": "24KiB", "segment": "4KiB"}}
    with Bench(case) as bench, Relay(bench.address) as relay:
        bench.host.settings = toml.merged(bench.host.settings, spool)
        host = begin(bench, relay.address)
        relay.cut()
        quota_bytes = 24 << 10
        for _ in range(case.pick(35, 180)):
            time.sleep(1)
            held = host.running.status()["spool"]["bytes"]
            assert held <= quota_bytes + (8 << 10), f"I5 the spool holds {held} bytes"
        assert host.running.status()["spool"]["dropped"] == 0, "nothing is dropped"
        relay.mend()
        drained(host)
        counts = bench.finish(may_lose=lambda _: True)
        with bench.running.client() as client:
            windows = [w for w in client.windows(host.id.hex()) if w.domain is Domain.PACKAGE]
        windows.sort(key=lambda window: window.start_mono_ns)
        merged = [window for window in windows if window.flags & Flag.MERGED]
        assert merged, "the oldest windows are coarser"
        assert not windows[-1].flags & Flag.MERGED, "the newest are not"
        counts.note = f"{len(merged)} of {len(windows)} windows merged"
        return counts


def _coverage(bench: Bench, after_unix_ns: int) -> list[int]:
    with bench.running.client() as client:
        windows = client.windows(bench.host.id.hex(), after_unix_ns)
        return [window.provenance.coverage_ppm for window in windows]


def _memory(host: Host) -> int:
    lines = Path(f"/proc/{host.running.pid}/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


@row(10, "collector SIGSTOPped")
def stopped(case: Case) -> Counts:
    with Bench(case) as bench:
        bench.begin()
        host = bench.host
        before = _memory(host)
        stopped_ns = time.time_ns()
        os.kill(bench.running.pid, signal.SIGSTOP)
        time.sleep(case.pick(6, 75))
        host.look()
        grown = _memory(host) - before
        reconnects = host.running.status()["uplink"]["reconnects"]
        os.kill(bench.running.pid, signal.SIGCONT)
        drained(host, 60)
        assert grown < 8 << 20, f"I5 the agent grew by {grown} bytes"
        assert reconnects <= 4, f"a storm of {reconnects} reconnects"
        counts = bench.finish()
        covered = sorted(_coverage(bench, stopped_ns))
        low = covered[len(covered) // 10] if covered else 0
        assert low > 800_000, f"sampling suffered: coverage {low} ppm"
        counts.note = f"agent grew by {grown >> 10} KiB"
        return counts


@row(10, "slow collector: every fsync takes 100 ms", "compiler")
def slow(case: Case) -> Counts:
    with Bench(case, collector_faults=True) as bench, Relay(bench.address) as relay:
        faults = bench.collector_faults
        assert faults is not None
        host = begin(bench, relay.address)
        relay.cut()
        time.sleep(case.pick(4, 60))
        before = _memory(host)
        faults.delay(100_000, Kind.SYNC)
        relay.mend()
        drained(host)
        host.look()
        grown = _memory(host) - before
        assert grown < 8 << 20, f"I5 the agent grew by {grown} bytes"
        faults.delay(0, Kind.SYNC)
        assert dumps.stored(bench.store)
        return bench.finish()
