"""From a scheduler's word to the profile of a class, through the real programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent.bindings import Bindings
from chipwatt.client import PlacementClient
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core import coarse
from chipwatt.core.identity import DeviceId, boot_id
from chipwatt.core.model import Attribution, DeviceKind
from chipwatt.core.workload import Binding, Holding
from fakes.collector_process import collector

WHO, KIND = bytes(range(1, 17)), bytes(range(17, 33))
MINUTES = 12
GPU = DeviceId(DeviceKind.GPU)
SECRET = "tenants-secret-name"


def trace(path: Path) -> int:
    """Write minutes of a GPU at 300 W, a fifth of the time at 450; return the first minute."""
    first = int(time.time()) // 60 - MINUTES - 1
    rows = ["unix_ns,device,power_mw"]
    for half in range(MINUTES * 120 + 1):
        stamp_ns = first * 60 * 10**9 + half * 500_000_000
        rows.append(f"{stamp_ns},gpu/0,{450_000 if half % 10 < 2 else 300_000}")
    path.write_text("\n".join(rows) + "\n")
    return first


@contextmanager
def agent(folder: Path, sensing: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    config = folder / "agent.toml"
    config.write_text(sensing)
    command = [sys.executable, "-m", "chipwatt.agent", "--config", str(config)]
    command += ["--state-dir", str(folder / "agent"), *options]
    with (folder / "agent.log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


def test_a_bound_workload_becomes_a_profile_of_its_class(tmp_path: Path) -> None:
    first = trace(tmp_path / "trace.csv")
    state = tmp_path / "agent"
    state.mkdir()
    binding = Binding(WHO, KIND, SECRET, (Holding(GPU),))
    Bindings(state / "workloads.json", boot_id(), lambda _: None).bind(binding)
    file = json.dumps(str(tmp_path / "trace.csv"))
    replay = f'[sensing]\nsources = ["replay"]\n[sources.replay]\nspeed = "max"\nfile = {file}\n'
    with collector(tmp_path) as running:
        options = ("--collector", running.address, "--until-delivered")
        with agent(tmp_path, replay, *options) as process:
            assert process.wait(60) == 0, (tmp_path / "agent.log").read_text()
        with PlacementClient(running.address) as client:
            deadline_s = time.monotonic() + 30
            while not (found := client.profiles().profiles):
                assert time.monotonic() < deadline_s, (tmp_path / "collector.log").read_text()
                time.sleep(0.2)
        assert running.stop() == 0
    (profile,) = found
    assert profile.class_id == KIND.hex()
    assert 320_000 < profile.mean_mw < 340_000

    store = SqliteStore(StoreConfig(path=tmp_path / "state" / "store"))
    minutes = store.workloads.follow(0)
    windows = [window for minute in minutes for window in minute.windows]
    store.close()
    mine = [window for window in windows if window.workload_id == WHO]
    assert MINUTES - 7 <= len(mine) <= MINUTES - 4
    assert mine[-1].start_unix_ns == (first + MINUTES - 1) * coarse.WINDOW_NS
    for window in mine:
        assert (window.class_id, window.attribution) == (KIND, Attribution.EXACT)
        assert sum(window.occupancy) == coarse.OCCUPANCY_PARTS
    sent = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    kept_by_the_agent = (state / "workloads.json").read_bytes()
    assert sent.count(SECRET.encode()) == kept_by_the_agent.count(SECRET.encode()) == 1


def chipwatt(socket: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CHIPWATT_WORKLOAD_SOCKET": str(socket)}
    command = [sys.executable, "-m", "chipwatt.cli", "workload", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def test_bind_list_unbind_at_the_command_line() -> None:
    with tempfile.TemporaryDirectory(prefix="cw") as short:
        folder = Path(short)
        socket = folder / "agent" / "workload.sock"
        answer = chipwatt(socket, "list")
        assert (answer.returncode, answer.stderr.count("\n")) == (69, 1)
        with agent(folder, '[sensing]\nsources = ["estimate"]\n', "--collector", "127.0.0.1:9"):
            deadline_s = time.monotonic() + 30
            while not socket.exists():
                assert time.monotonic() < deadline_s, (folder / "agent.log").read_text()
                time.sleep(0.05)
            bound = chipwatt(
                socket, "bind", WHO.hex(), "--class", KIND.hex(), "--device", "cpu/0",
                "--cgroup", "/sys/fs/cgroup/a.slice",
            )  # fmt: skip
            assert (bound.returncode, bound.stdout) == (0, f"{WHO.hex()} is bound.\n"), bound.stderr
            assert bound.stderr.endswith(
                "chipwatt: warning: cgroup: no such cgroup now: a.slice; its energy counts from "
                "when it appears\n"
            )
            listed = chipwatt(socket, "list", "--json")
            assert json.loads(listed.stdout) == {
                "workload": WHO.hex(), "class": KIND.hex(), "cgroup": "a.slice",
                "devices": ["cpu/0"],
            }  # fmt: skip
            answer = until_the_chips_are_known(socket)
            (doubt,) = answer["warnings"]
            assert doubt.startswith(
                "devices: this host measures no gpu/GPU-00000000-0000-0000-0000-00000000000a; it "
                "measures cpu/0"
            )
            assert chipwatt(socket, "unbind", KIND.hex()).returncode == 0
            nothing = chipwatt(socket, "bind", KIND.hex())
            assert nothing.returncode == 78
            assert nothing.stderr.count("\n") == 1
            assert chipwatt(socket, "unbind", WHO.hex()).returncode == 0
            assert chipwatt(socket, "list").stdout == "no workload is bound on this host.\n"
            gone = chipwatt(socket, "unbind", WHO.hex())
            assert (gone.returncode, gone.stderr.count("\n")) == (1, 1)
        log = (folder / "agent.log").read_text()
        assert "a.slice" not in log
        assert WHO.hex() in log


def until_the_chips_are_known(socket: Path) -> Any:
    """Bind to a GPU that is nowhere; return the answer of an agent that knows what is measured."""
    words = ["bind", KIND.hex(), "--device", f"gpu/GPU-{uuid.UUID(int=10)}", "--json"]
    deadline_s = time.monotonic() + 60
    while True:
        told = chipwatt(socket, *words)
        answer = json.loads(told.stdout)
        assert told.stderr == "".join(f"chipwatt: warning: {w}\n" for w in answer["warnings"])
        if "not known yet" not in told.stderr:
            return answer
        assert time.monotonic() < deadline_s, told.stderr
        time.sleep(0.2)


@pytest.mark.parametrize("words", [("bind", "x"), ("bind", "0" * 31), ("unbind",), ("walk",)])
def test_what_makes_no_sense_is_said_before_anything_is_asked(words: tuple[str, ...]) -> None:
    assert chipwatt(Path("/nowhere"), *words).returncode == 2
