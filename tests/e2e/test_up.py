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
from chipwatt.core.errors import ChipwattError
from chipwatt.core.tls import TlsFiles
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
        line = until(up.stdout.readline)
        address = line.split("answers at ")[1].split(";")[0]
        files = TlsFiles.in_bundle(Path(line.split("--tls ")[1].split(";")[0]))
        assert files.key.stat().st_mode & 0o777 == 0o600
        pids = until(lambda: found if len(found := _tree(up.pid)) == 3 else None)
        with CollectorClient(address, timeout_s=3) as stranger, pytest.raises(ChipwattError):
            stranger.status()
        with CollectorClient(address, ca=files.ca, cert=files.cert, key=files.key) as client:
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


def test_a_killed_agent_is_said_and_what_is_known_is_summed_up(tmp_path: Path) -> None:
    with _up(tmp_path, "--json", "--for", "60s") as up:
        pids = until(lambda: found if len(found := _tree(up.pid)) == 3 else None)
        agent = next(pid for pid in children(up.pid) if children(pid))
        # Its folder tells when the collector has something.
        until(lambda: any(tmp_path.glob("chipwatt-*/agent-status.json")))
        os.kill(agent, signal.SIGKILL)
        out, err = up.communicate(timeout=40)
    assert up.returncode == 1
    assert err == "chipwatt: the agent was killed (SIGKILL).\n"
    assert "the agent was killed (SIGKILL)." in json.loads(out.splitlines()[-1])["problems"]
    until(lambda: not any(map(alive, pids)), 10, "children")


def test_a_sensing_process_that_stands_still_is_no_live_power(tmp_path: Path) -> None:
    with _up(tmp_path) as up:
        assert up.stdout is not None
        until(lambda: " W " in up.stdout.readline(), what="a line with power")  # type: ignore[union-attr]
        sensing = next(pid for each in children(up.pid) for pid in children(each))
        os.kill(sensing, signal.SIGSTOP)
        until(lambda: "no data for" in up.stdout.readline(), what="silence")  # type: ignore[union-attr]
        os.kill(sensing, signal.SIGKILL)
        until(lambda: " W " in up.stdout.readline(), what="power again")  # type: ignore[union-attr]
        until(lambda: any(map(children, children(up.pid))))
        up.terminate()
        out, err = up.communicate(timeout=40)
    assert up.returncode == 0, err
    assert "problem: the sensing process died and was started again (restarts: 1)" in out
    cost = next(line for line in out.splitlines() if "the agent's own cost" in line)
    assert "sensing" in cost, "the new process counts"


def test_a_killed_collector_is_said_too(tmp_path: Path) -> None:
    with _up(tmp_path, "--json", "--for", "60s") as up:
        until(lambda: len(_tree(up.pid)) == 3)
        collector = next(pid for pid in children(up.pid) if not children(pid))
        os.kill(collector, signal.SIGKILL)
        out, err = up.communicate(timeout=60)
    assert up.returncode == 1
    assert err == "chipwatt: the collector was killed (SIGKILL).\n"
    assert json.loads(out.splitlines()[-1])["problems"] == ["the collector was killed (SIGKILL)."]


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
    # Over the time that the windows themselves cover: the bins at both ends are partial.
    means_mw = sorted(
        each["energy_uj"] * 10**6 / each["time_ns"] for each in summary["sensors"] if each["root"]
    )
    assert means_mw == [pytest.approx(150_000, rel=0.02), pytest.approx(300_000, rel=0.02)]
    assert summary["problems"] == []


def test_a_lost_gpu_is_a_problem_and_not_live(tmp_path: Path) -> None:
    scenario = tmp_path / "gpus"
    lost = nvml.gpu(1, steady(150_000), lost_at_ns=7 * 10**9)
    write_scenario(scenario, [nvml.gpu(0, steady(300_000)), lost])
    config = tmp_path / "agent.toml"
    config.write_text('[sensing]\nsources = ["nvml"]\n')
    kept = tmp_path / "kept"
    result = subprocess.run(
        [PYTHON, "-m", "chipwatt.cli", "up", "--for", "18s", "--json", "--config", config,
         "--state-dir", kept],
        capture_output=True, text=True, timeout=60, check=False, env=nvml.environment(scenario),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    silent = {each["device"] for each in summary["sensors"] if each["silence_ns"]}
    assert len(silent) == 1
    assert len({each["device"] for each in summary["sensors"]}) == 2
    assert all("no data for" in problem for problem in summary["problems"])
    assert any(silent.copy().pop() in problem for problem in summary["problems"])
    assert "it counts as lost" in (kept / "agent.log").read_text()
