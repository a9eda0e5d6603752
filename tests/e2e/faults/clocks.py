"""Row 13: wall clocks that jump and drift beneath a running agent."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from e2e.faults.bench import Bench, Host
from e2e.faults.rows import Case, Counts, faketime_library, row

HOUR_S = 3600
TEN_YEARS_S = 10 * 365 * 24 * HOUR_S


class WallClock:
    """The wall clock of one host, as libfaketime shows it."""

    def __init__(self, host: Host) -> None:
        self._file = host.folder / "clock"
        self.set(0)
        library = faketime_library()
        assert library is not None
        self.environment = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset_s: float) -> None:
        """Be ahead of the true time by this much."""
        scratch = self._file.with_suffix(".new")
        scratch.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(f"{offset_s:+.3f}\n")
        scratch.replace(self._file)


def _steps(case: Case, offsets_s: Sequence[float], *, restart: bool = False) -> Counts:
    """Jump to each offset and see that nothing of the books depends on it."""
    with Bench(case) as bench:
        host = bench.host
        clock = WallClock(host)
        bench.start_collector()
        host.start(bench.address, environment=clock.environment)
        bench.more(2)
        host.play()
        for offset_s in [*offsets_s, 0]:
            bench.more(1)
            if restart:
                host.kill()
            clock.set(offset_s)
            if restart:
                host.start(bench.address, environment=clock.environment)
            bench.more(2)
        bench.more(1)
        counts = bench.finish(len(offsets_s))
        with bench.running.client() as client:
            info = next(client.hosts())
            behind_s = time.time() - info.last_seen_unix_ns / 1e9
        assert abs(behind_s) < 60, "when a host was heard is the collector's to say"
        return counts


@row(13, "clock step of an hour ahead, an hour back, ten years ahead", "faketime")
def step(case: Case) -> Counts:
    offsets: list[float] = [HOUR_S, -HOUR_S, TEN_YEARS_S]
    return _steps(case, offsets * case.pick(1, 4))


@row(13, "clock back across a restart", "faketime")
def step_at_restart(case: Case) -> Counts:
    return _steps(case, [-HOUR_S] * case.pick(1, 3), restart=True)


@row(13, "drift of a minute an hour, sixty times faster", "faketime")
def drift(case: Case) -> Counts:
    return _steps(case, [float(second) for second in range(1, case.pick(4, 40))])
