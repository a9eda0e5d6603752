from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from chipwatt.agent.realtime import Promptness, shorten_slice

_POLICY = "os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK"


def run(script: str, *limits: str) -> list[str]:
    """Run ``script`` in a process of its own, whose scheduling may be changed; return its lines."""
    head = "import os, signal, threading, time\nfrom chipwatt.agent.realtime import prompt\n"
    done = subprocess.run(
        [*limits, sys.executable, "-c", head + script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return [f"exit {done.returncode}", *done.stdout.splitlines(), *done.stderr.splitlines()]


def granted() -> bool:
    return run("with prompt() as how: print(how)")[1:] == [str(Promptness.REAL_TIME)]


@pytest.fixture
def real_time() -> None:
    if not granted():
        pytest.skip("this kernel grants no real-time priority to us")


@pytest.mark.usefixtures("real_time")
def test_the_sampling_thread_alone_is_preferred_and_only_inside_the_block() -> None:
    script = f"""
with prompt():
    print({_POLICY} == os.SCHED_FIFO, os.sched_getparam(0).sched_priority)
    thread = threading.Thread(target=lambda: print({_POLICY} == os.SCHED_OTHER))
    thread.start()
    thread.join()
print({_POLICY} == os.SCHED_OTHER)
"""
    assert run(script) == ["exit 0", "True 1", "True", "True"]


@pytest.mark.usefixtures("real_time")
def test_a_loop_that_never_pauses_gives_its_core_back() -> None:
    script = f"""
with prompt():
    began = time.monotonic()
    while {_POLICY} == os.SCHED_FIFO and time.monotonic() - began < 5:
        pass
    print({_POLICY} == os.SCHED_OTHER)
"""
    code, outcome, *words = run(script)
    assert (code, outcome) == ("exit 0", "True")
    assert "normal priority until its next start" in " ".join(words)


@pytest.mark.usefixtures("real_time")
def test_a_library_that_never_returns_is_ended_by_the_kernel() -> None:
    """No handler runs while C code computes, so the hard limit has to do it."""
    script = "with prompt(): sum(range(10 ** 12))"
    assert run(script)[0] == f"exit {-signal.SIGKILL}"


def test_switched_off_it_asks_for_no_real_time_priority() -> None:
    script = f"with prompt(real_time=False) as how: print(how, {_POLICY} == os.SCHED_OTHER)"
    (line,) = run(script)[1:]
    assert line in {f"{Promptness.SHORT_SLICE} True", f"{Promptness.ORDINARY} True"}


def test_where_the_kernel_refuses_it_goes_on_at_normal_priority() -> None:
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
if not os.geteuid():
    os.setresuid(65534, 65534, 65534)
with prompt() as how:
    print(how != "real-time priority", {_POLICY} == os.SCHED_OTHER)
"""
    assert run(script) == ["exit 0", "True True"]


def test_the_limit_of_a_unit_is_enough() -> None:
    script = """
import resource
try:
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 1))
    os.setresuid(65534, 65534, 65534)
except (OSError, ValueError):
    print("no limit")
else:
    with prompt() as how:
        print(how)
"""
    code, outcome = run(script)
    if outcome == "no limit":
        pytest.skip("only root with CAP_SYS_RESOURCE may raise the limit")
    assert (code, outcome) == ("exit 0", str(Promptness.REAL_TIME))


def test_a_policy_that_somebody_chose_stays() -> None:
    script = f"""
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
with prompt() as how:
    print(how, {_POLICY} == os.SCHED_BATCH)
print({_POLICY} == os.SCHED_BATCH)
"""
    assert run(script) == ["exit 0", f"{Promptness.ORDINARY} True", "True"]


def test_a_short_slice_changes_nothing_else() -> None:
    told: list[tuple[bool, int, int]] = []

    def ask() -> None:
        before = os.getpriority(os.PRIO_PROCESS, 0)
        told.append((shorten_slice(), os.sched_getscheduler(0), before))
        told.append((shorten_slice(), os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert told[0] == told[1]
    assert told[0][1] == os.sched_getscheduler(0)
