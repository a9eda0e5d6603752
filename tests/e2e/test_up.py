"""`chipwatt up` on this very machine, whatever sensors it has."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from chipwatt.client import CollectorClient
from e2e.programs import PYTHON, alive, children, chipwatt, no_traceback, until
from fakes import nvml
from fakes.scenario import steady, write_scenario

pytestmark = pytest.mark.e2e


def test_twenty_seconds_give_the_promised_object(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    result = subprocess.run(
        [PYTHON, "-m", "chipwatt.cli", "up", "--for", "20s", "--json"],
        capture_output=True, text=True, timeout=90, check=False, env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    no_traceback(result.stdout, result.stderr)
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["host_seconds_stored"] >= 15
    assert summary["device_windows_stored"] >= summary["devices"] * 7
    assert summary["devices"] >= 1
    assert summary["sources"]
    assert summary["energy_uj"] > 0
    assert summary["unacked"] == 0
    assert ("ESTIMATED" in summary["flags"]) == ("estimate" in summary["sources"])
    assert {each["name"] for each in summary["cost"]["processes"]} == {"agent", "sensing"}
    assert 0 < summary["cost"]["pss_kib"] < 200 * 1024
    assert list(tmp_path.iterdir()) == [], "a temporary run leaves nothing behind"


def _up(tmp_path: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PYTHON, "-m", "chipwatt.cli", "up", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        found += children(each)
    return found[1:]


def test_a_killed_up_leaves_neither_process_nor_file(tmp_path: Path) -> None:
    with _up(tmp_path) as up:
        assert up.stdout is not None
        address = until(up.stdout.readline).split("answers at ")[1].split(";")[0]
        pids = until(lambda: found if len(found := _tree(up.pid)) == 3 else None)
        with CollectorClient(address) as client:
            until(lambda: client.status().host_seconds_stored > 0)
        up.send_signal(signal.SIGKILL)
        up.wait()
        until(lambda: not any(map(alive, pids)), 30, "children of a killed up")
        until(lambda: list(tmp_path.iterdir()) == [], 5, "the temporary folder")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_with_a_summary(tmp_path: Path, number: signal.Signals) -> None:
    with _up(tmp_path) as up:
        assert up.stdout is not None
        until(lambda: " W " in up.stdout.readline(), what="a line with power")  # type: ignore[union-attr]
        pids = _tree(up.pid)
        up.send_signal(number)
        out, err = up.communicate(timeout=40)
    assert up.returncode == 0, err
    assert "not yet acked: 0" in out
    assert "the agent's own cost" in out
    no_traceback(out, err)
    assert not any(map(alive, pids))


def test_in_a_terminal_there_is_a_table(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [PYTHON, "-m", "chipwatt.cli", "up", "--for", "5s", "--state-dir", str(tmp_path / "kept")],
        stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160", "LINES": "40"},
    ) as up:  # fmt: skip
        os.close(theirs)
        shown = bytearray()
        with open(ours, "rb", buffering=0) as terminal:  # noqa: PTH123
            try:
                while data := terminal.read(65536):
                    shown += data
            except OSError:
                pass  # a closed terminal reads as an error
    text = shown.decode(errors="replace")
    assert up.returncode == 0, text
    no_traceback(text)
    assert "peak 100 ms" in text
    assert "collector --state-dir" in text, "a kept store is worth a hint"
    assert (tmp_path / "kept" / "collector").is_dir()


def test_a_second_up_on_the_same_state_is_told_so(tmp_path: Path) -> None:
    with _up(tmp_path, "--state-dir", str(tmp_path / "kept")) as up:
        assert up.stdout is not None
        address = until(up.stdout.readline).split("answers at ")[1].split(";")[0]
        second = chipwatt("up", "--for", "2s", "--state-dir", tmp_path / "kept")
        assert second.returncode == 78
        assert f"process {up.pid} keeps its state here" in second.stderr
        third = chipwatt("up", "--for", "2s", "--listen", address)
        assert third.returncode != 0
        assert address in third.stderr
        no_traceback(second.stderr, third.stderr)
        up.terminate()
        up.communicate(timeout=40)


def test_where_nothing_can_be_measured_it_says_how_to_find_out_why(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[sensing]\nsources = ["rapl_powercap"]\n[sources.rapl_powercap]\nsysfs = "{tmp_path}"\n'
    )
    result = chipwatt("up", "--for", "2s", "--config", config)
    assert result.returncode == 0, result.stderr
    assert "nothing was measured: `chipwatt sensors` says why" in result.stdout


def test_a_wrong_setting_names_the_users_own_file(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("[sources.rapl_powercap]\nsysroot = '/sys'\n")
    result = chipwatt("up", "--config", config)
    assert result.returncode == 78
    assert str(config) in result.stderr
    assert "sysroot" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_gpus_of_a_vendor_library(tmp_path: Path) -> None:
    scenario = tmp_path / "gpus"
    write_scenario(scenario, [nvml.gpu(0, steady(300_000)), nvml.gpu(1, steady(150_000))])
    config = tmp_path / "agent.toml"
    config.write_text('[sensing]\nsources = ["nvml"]\n')
    result = subprocess.run(
        [PYTHON, "-m", "chipwatt.cli", "up", "--for", "8s", "--json", "--config", config],
        capture_output=True, text=True, timeout=60, check=False, env=nvml.environment(scenario),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["sources"] == ["nvml"]
    assert summary["devices"] == 2
    assert "ESTIMATED" not in summary["flags"]
    mean_mw = summary["energy_uj"] / summary["host_seconds_stored"] / 1000
    assert mean_mw == pytest.approx(450_000, rel=0.15)
