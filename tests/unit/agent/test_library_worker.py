from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chipwatt.agent.library_worker import LibraryWorker, Outcome
from chipwatt.agent.sensing.contract import SourceUnavailable, TransientReadError
from chipwatt.core.clock import NS_PER_MS, SystemClock
from fakes.file_sensors import FileConfig, LibraryFileSource

PERIOD_NS = 5 * NS_PER_MS
LIMIT_NS = 30 * NS_PER_MS


def eventually(happens: Callable[[], bool], within_s: float = 5.0) -> None:
    """Wait for another thread or the driver, not for time to pass."""
    end = time.monotonic() + within_s
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.001)


def begin(root: Path) -> LibraryWorker:
    worker = LibraryWorker(LibraryFileSource(FileConfig(root)), SystemClock())
    assert worker.opened(5.0) is not None
    worker.start(SystemClock().mono_ns(), PERIOD_NS)
    return worker


def gather(worker: LibraryWorker, count: int) -> list[Outcome]:
    got: list[Outcome] = []

    def enough() -> bool:
        got.extend(worker.drain())
        return len(got) >= count

    eventually(enough)
    return got


def test_readings_come_in_order_each_at_its_own_deadline(tmp_path: Path) -> None:
    (tmp_path / "0.uj").write_text("7")
    worker = begin(tmp_path)
    outcomes = gather(worker, 5)
    assert worker.close(5.0)
    assert all(outcome.readings[0].value == 7 for outcome in outcomes)
    began = [outcome.began_ns for outcome in outcomes]
    assert began == sorted(began)
    due = sum(outcome.due for outcome in outcomes[1:])
    assert abs((began[-1] - began[0]) - due * PERIOD_NS) < 2 * PERIOD_NS
    assert [len(outcome.throttles) for outcome in outcomes[:2]] == [1, 0]
    assert worker.library_ns() >= sum(o.ended_ns - o.began_ns for o in outcomes)


def test_a_hung_call_is_seen_timed_and_followed_by_none_until_it_returns(tmp_path: Path) -> None:
    path = tmp_path / "0.uj"
    path.write_text("7")
    worker = begin(tmp_path)
    gather(worker, 1)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "fifo").replace(path)  # from now on a read blocks, as in a driver that hangs
    eventually(lambda: worker.stalled(LIMIT_NS))
    worker.drain()
    assert worker.library_ns() >= LIMIT_NS
    assert worker.drain() == []
    assert not worker.close(0.01), "a hung call cannot be closed"
    path.write_text("8")  # the driver wakes up
    last = gather(worker, 1)[0]
    assert last.readings[0].value == 8
    assert last.ended_ns - last.began_ns > LIMIT_NS
    assert worker.close(5.0)
    assert not worker.stalled(LIMIT_NS)


def test_a_transient_error_is_an_outcome_and_polling_goes_on(tmp_path: Path) -> None:
    (tmp_path / "0.uj").write_text("")
    worker = begin(tmp_path)
    outcomes = gather(worker, 3)
    assert all(isinstance(outcome.error, TransientReadError) for outcome in outcomes)
    assert worker.close(5.0)


def test_any_other_error_ends_the_thread_after_it_was_told(tmp_path: Path) -> None:
    (tmp_path / "0.uj").write_text("7")
    worker = begin(tmp_path)
    (tmp_path / "0.uj").unlink()
    eventually(lambda: any(isinstance(o.error, FileNotFoundError) for o in worker.drain()))
    assert worker.close(5.0)


def test_what_open_raises_reaches_who_asks(tmp_path: Path) -> None:
    worker = LibraryWorker(LibraryFileSource(FileConfig(tmp_path)), SystemClock())
    with pytest.raises(SourceUnavailable, match="No counter"):
        worker.opened(5.0)
    assert worker.close(5.0)


def test_the_period_changes_while_it_runs(tmp_path: Path) -> None:
    (tmp_path / "0.uj").write_text("7")
    worker = begin(tmp_path)
    gather(worker, 2)
    worker.change(40 * NS_PER_MS)
    gather(worker, 2)  # one poll may still have been on the old grid
    outcomes = gather(worker, 2)
    gap_ns = outcomes[1].began_ns - outcomes[0].began_ns
    assert gap_ns > 20 * NS_PER_MS
    assert worker.close(5.0)
