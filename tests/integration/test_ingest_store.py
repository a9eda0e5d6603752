"""Ingest and store as processes and networks treat them: SIGKILL, TLS, many hosts at once."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from chipwatt.collector.ingest.dedupe import Dedupe, Verdict
from chipwatt.collector.store.config import DAY_NS, HOUR_NS
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.errors import StoreError
from unit.collector.ingest.agents import Agent, Ended, Served, served, wire
from unit.collector.store.batches import DAY0_UNIX_NS, FakeHost, config

ALL = (0, 1 << 62)
KILLS = 10


def write_for_ever(path: Path) -> None:
    """Be a collector that commits, compacts and expires without a pause, saying what is stored."""
    store = SqliteStore(config(path))
    dedupe = Dedupe(store.streams())
    host = FakeHost(1)
    for n in range(1, 100_000):
        batch = host.batch()
        if dedupe.judge(batch.key, batch.digest) is Verdict.NEW:
            store.commit([batch])
            print(batch.key.sequence, flush=True)
        if n % 7 == 0:
            store.compact(host.start_unix_ns + HOUR_NS)
        if n % 31 == 0:
            store.expire(DAY0_UNIX_NS + 5 * DAY_NS)


def test_nothing_that_was_acked_is_lost_by_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "store"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    dice = random.Random(7)
    acked = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, __file__, str(path)], stdout=subprocess.PIPE, env=environment
        )
        assert process.stdout is not None
        for _ in range(dice.randint(1, 60)):
            line = process.stdout.readline()
            assert line, "the writer ended by itself"
            acked = int(line)
        with pytest.raises(StoreError, match="another collector has this store open"):
            SqliteStore(config(path))
        process.kill()
        acked = int(([str(acked).encode(), *process.stdout.read().split()])[-1])
        process.wait()
        process.stdout.close()

        store = SqliteStore(config(path))
        (stream,) = store.streams()
        ((first, stored),) = stream.seen
        assert first == 1
        assert stored >= acked
        host = FakeHost(1)
        for _ in range(stored):
            host.batch()
        windows = store.windows(host.host, *ALL, limit=10**6)
        assert sum(w.energy_uj for w in windows) == host.sent_uj
        seconds = store.host_seconds(host.host, *ALL, limit=10**6)
        assert sum(s.duration_ns for s in seconds) == stored * 10 * 10**9
        totals = store.totals()
        assert (totals.batches, totals.root_energy_uj) == (stored, host.sent_uj)
        store.compact(host.start_unix_ns + HOUR_NS)
        check = store.energy_check()
        assert (check.holes, check.twice_uj) == (0, 0)
        assert store.damaged == 0
        store.close()
    assert acked > KILLS


def test_many_hosts_that_break_off_and_repeat_themselves(tmp_path: Path) -> None:
    store = SqliteStore(config(tmp_path / "store"))
    hosts = [FakeHost(n) for n in range(24)]

    async def deliver(collector: Served, host: FakeHost) -> None:
        dice = random.Random(host.number)
        batches = [wire(host.batch()) for _ in range(12)]
        done = 0
        while done < len(batches):
            # Begin a little before the last ack, as an agent does whose acks were lost.
            position = max(0, done - dice.randint(0, 3))
            async with Agent(collector.address, host.host) as agent:
                await agent.hello()
                count = dice.randint(1, 6)
                for batch in batches[position : position + count]:
                    await agent.send(batch)
                if dice.random() < 0.7:
                    done = max(done, (await agent.receive()).ack.sequence)

    async def main() -> None:
        async with served(store) as collector:
            await asyncio.gather(*(deliver(collector, host) for host in hosts))
            assert collector.ingest.counters.duplicates > 0
            assert collector.ingest.counters.conflicts == 0

    asyncio.run(main())
    for host in hosts:
        windows = store.windows(host.host, *ALL)
        assert sum(w.energy_uj for w in windows) == host.sent_uj
        assert len(windows) == 24
    assert {stream.seen for stream in store.streams()} == {((1, 12),)}
    store.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
def test_with_tls_the_certificate_names_the_host(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    ca, host = (tmp_path / "ca.pem").read_bytes(), FakeHost(1)

    def pair(name: str) -> tuple[bytes, bytes]:
        return (tmp_path / f"{name}.key").read_bytes(), (tmp_path / f"{name}.pem").read_bytes()

    server = grpc.ssl_server_credentials([pair("server")], ca, require_client_auth=True)
    agent_, other = (
        grpc.ssl_channel_credentials(ca, *pair(name)) for name in ("agent", "placement")
    )
    store = SqliteStore(config(tmp_path / "store"))

    async def main() -> None:
        async with served(store, server) as collector:
            async with Agent(collector.address, b"liar" * 4, agent_) as agent:
                await agent.hello()
                await agent.send(wire(host.batch()))
                await agent.acked(1)
                assert collector.ingest.connected() == {host.host}
            async with Agent(collector.address, host.host, other) as agent:
                with pytest.raises(Ended, match=r"PERMISSION_DENIED.*is for no agent"):
                    await agent.hello()

    asyncio.run(main())
    assert [row.host for row in store.hosts()] == [host.host]
    store.close()


def make_certificates(folder: Path) -> None:
    """Make an authority, a server, an agent for host 1 and a client that is no agent."""
    names = {
        "server": "DNS:localhost",
        "agent": f"URI:spiffe://fleet.example/agent/{(1).to_bytes(16).hex()}",
        "placement": "URI:spiffe://fleet.example/placement/scheduler",
    }
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    new += ["-nodes", "-days", "2", "-subj", "/CN=chipwatt test"]
    run(folder, *new, "-keyout", "ca.key", "-out", "ca.pem")
    for name, subject in names.items():
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", f"subjectAltName={subject}"]
        run(folder, *new, *signed, "-keyout", f"{name}.key", "-out", f"{name}.pem")


def run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    write_for_ever(Path(sys.argv[1]))
