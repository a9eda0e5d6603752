"""``chipwatt adapter``: real processes, asked as a scheduler would ask them."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chipwatt.cli import main
from fakes.desk import Desk, desk

__all__ = ["desk"]
GOLDEN = Path(__file__).parents[2] / "golden" / "extender"


@contextmanager
def adapter(log: Path, kind: str, *args: str) -> Iterator[str]:
    """Run an adapter on a free port; gives its address. It has to end cleanly on SIGTERM."""
    command = [sys.executable, "-m", "chipwatt.cli", "adapter", kind, "--listen", "127.0.0.1:0",
               "--announce", *args]  # fmt: skip
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            yield json.loads(line)["listening"]
            process.terminate()
            assert process.wait(20) in (0, -15)
        finally:
            process.kill()


def call(address: str, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def test_the_extender_as_a_process(desk: Desk, tmp_path: Path) -> None:
    held = json.loads((GOLDEN / "filter_reserves.json").read_text())
    log = tmp_path / "log"
    with adapter(log, "k8s", "--deadline", "20s", "--collector", desk.server.address) as address:
        body = json.dumps(held["request"]).encode()
        status, reply = call(address, "POST", "/scheduler/filter", body)
        assert (status, json.loads(reply)) == (200, held["reply"])
        assert call(address, "POST", "/scheduler/filter", b"x" * (4 * 1024**2 + 1))[0] == 413
        assert b'outcome="answered"} 1' in call(address, "GET", "/metrics")[1]
    assert desk.server.book.keys() == {held["request"]["Pod"]["metadata"]["uid"]}
    assert "Traceback" not in log.read_text()


def test_the_load_watcher_as_a_process(desk: Desk, tmp_path: Path) -> None:
    with adapter(tmp_path / "log", "load-watcher", "--collector", desk.server.address) as address:
        status, reply = call(address, "GET", "/watcher/n1")
    assert status == 200
    assert set(json.loads(reply)["data"]["NodeMetricsMap"]) == {"n1"}


def test_slurm_dry_run_is_ready_for_a_shell(desk: Desk) -> None:
    code, text = desk.run("adapter", "slurm", "--dry-run")
    assert code == 0
    assert text == "scontrol update NodeName=n1,n2 Weight=1 'Extra={\"headroom_w\":10000}'\n"


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["slurm", "--every", "10s"], "--every: at least 60s"),
        (["k8s", "--listen", "0.0.0.0:1"], "schedulers send whole pods"),
        (["k8s", "--ttl", "2d"], "--ttl: at most 86400s, a day"),
        (["k8s", "--draw", "cpu"], "--draw cpu: power is a number with a unit"),
        (["k8s", "--kube-api", "nowhere"], "--kube-api: 'nowhere' is no http or https URL"),
        (["load-watcher", "--collector", "nowhere"], "is no address: write host:port"),
    ],
)
def test_mistakes_are_one_sentence(
    args: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["adapter", *args]) == 78
    said = capsys.readouterr().err
    assert complaint in said
    assert len(said.splitlines()) == 1


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main.run(["adapter", "k8s"]) == 69
    assert "pip install 'chipwatt[adapters]'" in capsys.readouterr().err
