"""The audit log: every note is in it, once or counted, and it stays small."""

from __future__ import annotations

import json
import resource
import signal
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.access import audit as module
from chipwatt.collector.access.audit import KEPT, REPEAT_NS, AuditLog
from chipwatt.collector.access.caller import Caller
from chipwatt.collector.access.role import Role

ANN = Caller(Role.OPERATOR, "ann", source="192.0.2.1")
BOB = Caller(Role.PLACEMENT, "bob", source="192.0.2.2")


class Clock:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def a_log(folder: Path, **changes: Any) -> tuple[AuditLog, Clock]:
    clock = Clock()
    return AuditLog(folder, unix_ns=lambda: 7, mono_ns=clock, **changes), clock


def lines(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("audit.jsonl*"), reverse=True)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_line_says_who_did_what_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    log, _ = a_log(tmp_path / "state")
    assert not log.path.exists()
    log.note("called", ANN, rpc="/x/Y", host="aa")
    assert lines(log.path.parent) == [
        {"time_unix_ns": 7, "event": "called", "role": "operator", "name": "ann",
         "source": "192.0.2.1", "rpc": "/x/Y", "host": "aa"},
    ]  # fmt: skip
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    log.close()


def test_text_of_a_caller_stays_in_its_line(tmp_path: Path) -> None:
    log, _ = a_log(tmp_path)
    log.note("refused", Caller(Role.NONE, 'x"\n{"event": "called"}\u2028'))
    assert [line["event"] for line in lines(tmp_path)] == ["refused"]
    log.close()


def test_what_repeats_is_counted(tmp_path: Path) -> None:
    log, clock = a_log(tmp_path)
    for _ in range(1000):
        log.note("called", ANN, rpc="/x/Y")
        clock.ns += REPEAT_NS // 2000
    log.note("called", BOB, rpc="/x/Y")
    assert [line["name"] for line in lines(tmp_path)] == ["ann", "bob"]
    clock.ns += REPEAT_NS
    log.note("called", ANN, rpc="/x/Y")
    found = lines(tmp_path)
    assert [(line["name"], line.get("repeats", 0)) for line in found] == [
        ("ann", 0), ("bob", 0), ("ann", 999), ("ann", 0),
    ]  # fmt: skip
    log.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 1, REPEAT_NS]))))
def test_no_note_is_lost(notes: list[tuple[int, int]]) -> None:
    with TemporaryDirectory() as folder:
        log, clock = a_log(Path(folder))
        for who, later_ns in notes:
            clock.ns += later_ns
            log.note("called", Caller(Role.OPERATOR, str(who)))
        log.close()
        found = lines(Path(folder))
        for who in range(6):
            counted = sum(int(line.get("repeats", 1)) for line in found if line["name"] == str(who))
            assert counted == sum(one == who for one, _ in notes)


def test_the_files_stay_few_and_small(tmp_path: Path) -> None:
    log, _ = a_log(tmp_path, rotate_bytes=2000)
    for number in range(500):
        log.note("refused", Caller(Role.NONE, f"{number}"))
    log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == KEPT + 1
    assert all(file.stat().st_size <= 2000 for file in files)
    # What is left is the newest, in order, across the files and across a restart.
    names = [int(line["name"]) for line in lines(tmp_path)]
    assert names == list(range(500 - len(names), 500))
    again, _ = a_log(tmp_path, rotate_bytes=2000)
    again.note("called", ANN)
    again.close()
    assert lines(tmp_path)[-1]["name"] == "ann"


def test_a_flood_of_names_does_not_fill_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_KEYS", 10)
    log, _ = a_log(tmp_path)
    for number in range(100):
        log.note("refused", Caller(Role.NONE, f"{number}"))
    log.close()
    found = lines(tmp_path)
    assert len(found) <= 13
    assert found[-1] == {"time_unix_ns": 7, "event": "refused", "role": "none", "repeats": 89}


def test_a_disk_that_takes_no_line_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    log, _ = a_log(tmp_path / "file")
    log.note("called", ANN)
    log.close()
    assert "audit line lost" in caplog.text


def test_a_line_cut_short_by_a_full_disk_costs_no_other(tmp_path: Path) -> None:
    log, _ = a_log(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        log.note("called", ANN)
        size = log.path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
        log.note("called", BOB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert log.path.stat().st_size == size + 10
    log.note("refused", ANN)
    log.close()
    first, torn, last = log.path.read_text().splitlines()
    assert (json.loads(first)["event"], json.loads(last)["event"]) == ("called", "refused")
    assert len(torn) == 10
