"""Children end, whatever becomes of their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chipwatt.cli.children import Child, ChildFailed

_SLEEPER = "timeit"  # any standard module that can be made to run for long
_SLEEP = ["-n", "1", "-r", "1", "import time; time.sleep(60)"]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_stop_ends_it(tmp_path: Path) -> None:
    child = Child("sleeper", _SLEEPER, _SLEEP, tmp_path / "log", None)
    assert child.exit_code is None
    child.stop()
    assert not alive(child.pid)


def test_its_last_words_explain_its_end(tmp_path: Path) -> None:
    child = Child("compiler", "compileall", ["--no-such-option"], tmp_path / "log", None)
    with pytest.raises(ChildFailed, match=r"compiler ended with code 2: .*no-such-option"):
        child.wait_for(lambda: False, 20)
    assert child.stop() == 2


def test_a_killed_child_is_said_to_be_killed(tmp_path: Path) -> None:
    child = Child("sleeper", _SLEEPER, _SLEEP, tmp_path / "log", None)
    os.kill(child.pid, signal.SIGKILL)
    child.stop()
    with pytest.raises(ChildFailed, match=r"the sleeper was killed \(SIGKILL\)"):
        child.check()


def test_not_ready_in_time(tmp_path: Path) -> None:
    child = Child("sleeper", _SLEEPER, _SLEEP, tmp_path / "log", None)
    try:
        with pytest.raises(ChildFailed, match="not ready after"):
            child.wait_for(lambda: False, 0.2)
    finally:
        child.stop()


def test_a_killed_parent_leaves_neither_child_nor_scratch(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "import sys, time; from pathlib import Path; from chipwatt.cli.children import Child\n"
        "scratch = Path(sys.argv[1])\n"
        f"child = Child('sleeper', {_SLEEPER!r}, {_SLEEP!r}, scratch / 'log', scratch)\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(scratch)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    deadline = time.monotonic() + 10
    while b"timeit" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert gone_within(pid, 30)
    assert not scratch.exists()
