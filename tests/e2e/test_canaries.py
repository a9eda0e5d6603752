"""Words in every place that a tenant has a say in are in nothing that we write or send."""

from __future__ import annotations

import base64
import os
import socket as socket_
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from chipwatt.agent.bindings import Bindings
from chipwatt.core.codec import encode_records
from chipwatt.core.identity import DeviceId, boot_id
from chipwatt.core.model import DeviceKind
from chipwatt.core.records import Records
from chipwatt.core.workload import Binding, Holding
from e2e.programs import PYTHON, Agent, Collector, chipwatt, until
from fakes.agent_stream import send_payloads
from fakes.canary import canary, compressed, files, hits
from fakes.device_windows import a_run
from fakes.kubelet import kubelet, listing
from fakes.otlp_sink import OtlpSink
from fakes.relay import Relay

pytestmark = pytest.mark.e2e
MINUTES = 8
WHO, KIND = bytes(range(1, 17)), bytes(range(17, 33))
_TENANT = """
import sys, time
open("/proc/self/comm", "w").write(sys.argv[2][:15])
print("up", flush=True)
time.sleep(600)
"""


def free_port() -> int:
    with socket_.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def tenant(words: Mapping[str, str]) -> Iterator[None]:
    """Run somebody's process beside us, named all over."""
    environment = {**os.environ, "SECRET": words["environment"], "HOSTNAME": words["host name"]}
    command = [words["argv 0"], "-c", _TENANT, words["argv"], words["comm"]]
    process = subprocess.Popen(
        command, executable=sys.executable, env=environment, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


def trace(path: Path) -> None:
    """Write minutes of a GPU that serves requests."""
    first = int(time.time()) // 60 - MINUTES - 2
    rows = ["unix_ns,device,power_mw"]
    for half in range(MINUTES * 120 + 1):
        stamp_ns = first * 60 * 10**9 + half * 500_000_000
        rows.append(f"{stamp_ns},gpu/0,{450_000 if half % 10 < 2 else 300_000}")
    path.write_text("\n".join(rows) + "\n")


def forge(address: str, word: str) -> None:
    """Send a batch whose payload has a field 99 that no schema knows."""
    payload = encode_records(Records(windows=tuple(a_run([5]))))
    forged = payload + b"\x9a\x06" + bytes([len(word)]) + word.encode()
    assert send_payloads(address, b"h" * 16, [forged]).acked == 1


def slurm(socket: Path, words: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "CHIPWATT_WORKLOAD_SOCKET": str(socket), "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": words["job name"], "SLURM_JOB_USER": words["job user"],
        "SLURM_JOB_COMMENT": words["job comment"], "SLURM_JOB_GPUS": "0",
    }  # fmt: skip
    return subprocess.run(
        [PYTHON, "-m", "chipwatt.cli", "workload", "slurm-prolog"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def pods(folder: Path, socket: Path, words: Mapping[str, str]) -> bytes:
    """Follow a kubelet until its pod is bound; return what was said."""
    answer = listing((words["namespace"], words["pod"], ("0",)))
    with kubelet(folder / "kubelet.sock", answer):
        process = subprocess.Popen(
            [PYTHON, "-m", "chipwatt.cli", "workload", "kubelet", "--kubelet",
             str(folder / "kubelet.sock")],
            env={**os.environ, "CHIPWATT_WORKLOAD_SOCKET": str(socket)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        time.sleep(3)  # it asks at once, and says nothing when it has been answered
        process.terminate()
        said, _ = process.communicate(timeout=30)
    return said


def questions(address: str) -> Iterator[tuple[str, bytes]]:
    """Ask everything that the command line can, and yield the answers."""
    for words in (["hosts"], ["query", "windows"], ["profile"], ["headroom"]):
        done = chipwatt(*words, "--collector", address)
        yield " ".join(words), (done.stdout + done.stderr).encode()


def scraped(page: str) -> bytes:
    """Return what ``/metrics`` shows, once it shows chips."""
    shown: bytes = urllib.request.urlopen(f"http://{page}/metrics", timeout=30).read()
    return shown if b"hw_energy" in shown else b""


PLACES = (
    "argv 0", "argv", "comm", "environment", "host name", "cgroup", "job name", "job user",
    "job comment", "namespace", "pod", "field 99",
)  # fmt: skip


@pytest.mark.timeout(300)
def test_no_word_of_a_tenant_is_in_what_we_write_or_send(tmp_path: Path) -> None:
    words = {place: canary() for place in PLACES}
    trace(tmp_path / "trace.csv")
    state = tmp_path / "agent" / "state"
    state.mkdir(parents=True)
    binding = Binding(WHO, KIND, f"{words['cgroup']}.slice", (Holding(DeviceId(DeviceKind.GPU)),))
    Bindings(state / "workloads.json", boot_id(), lambda _: None).bind(binding)
    page = f"127.0.0.1:{free_port()}"
    settings: dict[str, dict[str, object]] = {
        "otlp": {"start": "oldest", "settle": "0s", "compression": "none"},
        "prometheus": {"listen": page},
        "log": {"level": "debug"},
    }
    replay = {"file": tmp_path / "trace.csv", "speed": "max"}
    with (
        tempfile.TemporaryDirectory(prefix="cw") as short,
        tenant(words),
        OtlpSink() as sink,
        Relay(sink.endpoint.removeprefix("http://")) as otlp,
    ):
        settings["otlp"]["endpoint"] = f"http://{otlp.address}"
        otlp.kept = bytearray()
        with (
            Collector(tmp_path / "collector", settings=settings) as collector,
            Relay(collector.address) as wire,
        ):
            wire.kept = bytearray()
            sensing = {"sources": ["replay"]}
            own = {"sensing": sensing, "sources": {"replay": replay}, "log": {"level": "debug"}}
            with Agent(tmp_path / "agent", wire.address, own) as agent:
                sink.wait_for(1, 60)
                until(lambda: agent.status().get("spool", {}).get("unacked") == 0, 60)
            socket = Path(short) / "w.sock"
            live = {"sensing": {"sources": ["estimate"]}, "workloads": {"socket": socket}}
            with Agent(tmp_path / "agent", wire.address, live):
                until(socket.exists, 60)
                said = [slurm(socket, words)]
                followed = pods(Path(short), socket, words)
                forge(collector.address, words["field 99"])
            shown = until(lambda: scraped(page), 90, "/metrics shows chips")
            told = list(questions(collector.address))
        everything = [
            *files(tmp_path, "workloads.json"),
            ("the wire", bytes(wire.kept)),
            ("OTLP", bytes(otlp.kept)),
            ("/metrics", shown),
            ("the kubelet's follower", followed),
            *[("the prolog", (each.stdout + each.stderr).encode()) for each in said],
            *told,
        ]
    sizes = {name: len(data) for name, data in everything}
    assert sizes["the wire"] > 10_000
    assert sizes["OTLP"] > 10_000
    for part in ("store", "agent.log", "collector.log"):
        assert any(part in name for name in sizes), part
    # That the workload came through at all: its id is ours, and may be told.
    assert any(WHO in data for _, data in everything)
    assert hits(words, everything) == []


def test_the_search_finds_what_it_looks_for() -> None:
    word = canary()
    plain = word.encode()
    hidden = [
        plain, word.encode("utf-16-le"), plain.hex().encode(), plain[::-1],
        *[base64.b64encode(b"x" * n + plain + b"tail") for n in range(3)],
    ]  # fmt: skip
    for data in hidden:
        assert hits({"here": word}, [("there", b"before" + data + b"after")]) == ["here in there"]
        for packed in compressed(b"before" + data):
            assert hits({"here": word}, [("there", b"x" + packed)]) == ["here in there"]
    assert hits({"here": word}, [("there", plain[:-1])]) == []
