"""Half an hour without the back end, in seconds: what was held back arrives, once and in order.

A real collector process exports to a real OpenTelemetry Collector that is killed and, 1800 s of
data later, started again. The data's time is scaled, not the network's: windows that span
half an hour are ingested while nobody takes them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chipwatt.collector.otlp.table import ENERGY
from chipwatt.core.records import DeviceWindow, Records
from fakes.agent_stream import send
from fakes.collector_process import collector
from fakes.telemetry_records import a_host, a_window
from interop.backend import free_port
from interop.judge import Finding, grown_uj
from interop.otelcol import Otelcol, otelcol

HOST = a_host(1)
WINDOW_S, OUT_S, BEFORE_S = 10, 1800, 300
WINDOW_UJ = 4_000_000_007
ARRIVES_S = 60.0


@dataclass(slots=True)
class Feed:
    """Sends windows as an agent would, and keeps the time of each ack."""

    address: str
    start_s: int
    sent: int = 0

    def more(self, seconds: int) -> list[float]:
        """Send ``seconds`` of data, a batch a minute; return how long each ack took."""
        took_s = []
        for _ in range(seconds // 60):
            windows = tuple(self._window() for _ in range(60 // WINDOW_S))
            begin_s = time.perf_counter()
            batch = self.sent // len(windows)
            answers = send(self.address, HOST, [Records(windows=windows)], first_sequence=batch)
            took_s.append(time.perf_counter() - begin_s)
            assert answers.acked == batch, answers
        return took_s

    def _window(self) -> DeviceWindow:
        self.sent += 1
        at_s = self.start_s + WINDOW_S * (self.sent - 1)
        return a_window(at_s, WINDOW_UJ, cumulative_uj=10**12 + WINDOW_UJ * self.sent)


def outage(binary: Path, folder: Path) -> Iterator[Finding]:
    """Play it in ``folder`` and yield what was found."""
    port = free_port()
    config = folder / "collector.toml"
    config.write_text(
        '[privacy]\negress = "operator"\n'
        f'[otlp]\nendpoint = "http://127.0.0.1:{port}"\nstart = "oldest"\ninterval = "10s"\n'
        'settle = "0s"\ntimeout = "1s"\n'
    )
    start_s = (int(time.time()) // 60 - (BEFORE_S + OUT_S) // 60 - 3) * 60
    with collector(folder, "--config", str(config)) as running:
        feed = Feed(running.address, start_s)
        with otelcol(binary, folder, port) as backend:
            usual_s = feed.more(BEFORE_S)
            _wait_for(backend, feed)
        held_s = feed.more(OUT_S)
        with otelcol(binary, folder, port) as backend:
            _wait_for(backend, feed)
    yield from _judged(backend, feed)
    slow_s, limit_s = max(held_s), max(1.0, 5 * max(usual_s))
    what = f"slowest ack, {len(held_s)} batches meanwhile"
    yield Finding(what, f"<= {limit_s:.2f} s", f"{slow_s:.3f} s", slow_s <= limit_s)


def _wait_for(backend: Otelcol, feed: Feed) -> None:
    """Return once the newest window has been written there; raises AssertionError."""
    due_ms = 1000 * (feed.start_s + WINDOW_S * feed.sent)
    deadline_s = time.monotonic() + ARRIVES_S
    while backend.newest_ms(ENERGY) < due_ms:
        assert time.monotonic() < deadline_s, "the back end did not get everything"
        time.sleep(0.5)


def _judged(backend: Otelcol, feed: Feed) -> Iterator[Finding]:
    sent_uj = WINDOW_UJ * feed.sent
    found_uj = grown_uj(backend.series(ENERGY))
    yield Finding("energy through an outage, uJ", str(sent_uj), str(found_uj), sent_uj == found_uj)
    times: dict[int, int] = defaultdict(int)
    order = backend.times_ms(ENERGY)
    for at_ms in order:
        times[at_ms] += 1
    twice = sum(count > 1 for count in times.values())
    yield Finding("points that came twice", "0", str(twice), twice == 0)
    yield Finding(
        "in the order of time", "True", str(order == sorted(order)), order == sorted(order)
    )
    due = feed.sent + 1  # one opens the stream
    yield Finding("a point a window", str(due), str(len(order)), len(order) == due)
