"""Reads one other tool over one stretch of time, where the fake tree is this process's ``/sys``.

``peers`` runs this module with the interpreter that has the tool's package, so it and what it
imports need the standard library only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from bench.metrology.peer_outputs import (
    NS_PER_S,
    Stretch,
    alumet_points,
    alumet_stretch,
    sample,
    zeusd_uj,
)

UJ_PER_KWH: Final = 3.6e12
READY_S: Final = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Metered:
    """What a tool says, and when it looked: each moment lies between two monotonic times."""

    version: str
    uj: float | None
    """None where the tool gives no value."""
    begin_ns: tuple[int, int]
    end_ns: tuple[int, int]


Meter = tuple[Callable[[], object], Callable[[], "float | Stretch | None"]]
"""Begins, and then ends with the µJ in between."""


@contextlib.contextmanager
def _pyrapl(_: str) -> Iterator[Meter]:
    pyrapl = _package("pyRAPL")
    pyrapl.setup(devices=[pyrapl.Device.PKG])
    measurement = pyrapl.Measurement("bench")

    def end() -> float | None:
        measurement.end()
        return None if measurement.result.pkg is None else float(measurement.result.pkg[0])

    yield measurement.begin, end


@contextlib.contextmanager
def _zeus(_: str) -> Iterator[Meter]:
    monitor = _package("zeus.monitor").ZeusMonitor(cpu_indices=[0], gpu_indices=[])
    yield (
        lambda: monitor.begin_window("bench"),
        lambda: float(monitor.end_window("bench").cpu_energy[0]) * 1e6,
    )


@contextlib.contextmanager
def _codecarbon(_: str) -> Iterator[Meter]:
    """Its tracker over the whole machine, as a user runs it, but it looks every second, not 15."""
    tracker = _package("codecarbon").OfflineEmissionsTracker(
        country_iso_code="USA",
        measure_power_secs=1,
        tracking_mode="machine",
        allow_multiple_runs=True,
        save_to_file=False,
        log_level="error",
    )
    began: list[int] = []

    def begin() -> None:
        tracker.start()
        began.append(_last_look_ns(tracker))

    def end() -> Stretch:
        tracker.stop()
        modes = [getattr(device, "_mode", "") for device in tracker._hardware]
        if "intel_rapl" not in modes:
            raise LookupError(f"CodeCarbon does not use RAPL but {modes}")
        kwh = float(tracker.final_emissions_data.cpu_energy)
        return Stretch(kwh * UJ_PER_KWH, began[0], _last_look_ns(tracker))

    yield begin, end


def _last_look_ns(tracker: Any) -> int:
    """When it last measured; it says so in ``perf_counter``, which on Linux is monotonic time."""
    return round(float(tracker._last_measured_time) * NS_PER_S)


@contextlib.contextmanager
def _node_exporter(path: str) -> Iterator[Meter]:
    address = _free_address()
    command = [path, "--collector.disable-defaults", "--collector.rapl"]
    with _serving([*command, f"--web.listen-address={address}"], f"{address}/metrics") as get:
        yield _increase(lambda: sample(get(), "node_rapl_package_joules_total") * 1e6)


@contextlib.contextmanager
def _kepler(path: str) -> Iterator[Meter]:
    """Flags and staleness: sustainable-computing-io/kepler, config/config.go (0.10 and newer).

    ``kepler_node_cpu_joules_total{zone="package"}``: its docs/user/metrics.md.
    """
    address = _free_address()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write("monitor: {interval: 1s, staleness: 1ms}\n")
        config.flush()
        command = [path, f"--config.file={config.name}", "--metrics=node", "--log.level=error"]
        command.append(f"--web.listen-address={address}")
        with _serving(command, f"{address}/metrics") as get:
            yield _increase(
                lambda: sample(get(), "kepler_node_cpu_joules_total", zone="package") * 1e6
            )


_WITH_MODULES: Final = """
real=$(mktemp -d) && mount --rbind /proc "$real" && mount -t tmpfs none /proc
ln -s "$real"/* /proc/ && rm /proc/$$ && mkdir /proc/$$ && mount --bind "$real/$$" /proc/$$
echo intel_rapl_msr 20480 0 - Live 0x0000000000000000 > /proc/modules && exec "$@"
"""
"""Scaphandre 1.0.0 panics on a kernel without modules, so it gets a ``/proc/modules``."""


@contextlib.contextmanager
def _scaphandre(path: str) -> Iterator[Meter]:
    """``scaph_socket_energy_microjoules``: hubblo-org/scaphandre, docs references/metrics.md."""
    host, port = _free_address().split(":")
    command = [path, "prometheus", "--address", host, "--port", port]
    if not Path("/proc/modules").exists():
        command = ["sh", "-c", _WITH_MODULES, "sh", *command]
    with _serving(command, f"{host}:{port}/metrics") as get:
        yield _increase(lambda: sample(get(), "scaph_socket_energy_microjoules"))


@contextlib.contextmanager
def _zeusd(path: str) -> Iterator[Meter]:
    address = _free_address()
    command = [path, "serve", "--mode", "tcp", "--tcp-bind-address", address]
    url = f"{address}/cpu/get_cumulative_energy?cpu=true&dram=false"
    with _serving([*command, "--enable", "cpu-read"], url) as get:
        yield _between(lambda: zeusd_uj(get()))


@contextlib.contextmanager
def _alumet(path: str) -> Iterator[Meter]:
    """Options: alumet-dev/alumet, agent/src/bin/main.rs; settings: plugins/{rapl,csv}/README.md."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "points.csv"
        command = [path, f"--config={folder}/alumet.toml", "--plugins=rapl,csv"]
        command.append(f"--output-file={output}")
        for setting in ("poll_interval='100ms'", "flush_interval='100ms'", "no_perf_events=true"):
            command += ["--config-override", f"plugins.rapl.{setting}"]
        began: list[int] = []
        with subprocess.Popen([*command, "run"], stdout=subprocess.DEVNULL) as process:

            def end() -> Stretch:
                ended = time.time_ns()
                process.send_signal(signal.SIGINT)
                process.wait(timeout=READY_S)
                seen = alumet_stretch(alumet_points(output.read_text()), began[0], ended)
                shift = time.monotonic_ns() - time.time_ns()
                return Stretch(seen.uj, seen.begin_ns + shift, seen.end_ns + shift)

            try:
                _wait_for(lambda: output.exists() and output.read_text().count("\n") > 2)
                yield lambda: began.append(time.time_ns()), end
            finally:
                process.kill()


TOOLS: Final[Mapping[str, Callable[[str], AbstractContextManager[Meter]]]] = {
    "pyRAPL": _pyrapl,
    "zeus": _zeus,
    "codecarbon": _codecarbon,
    "node_exporter": _node_exporter,
    "scaphandre": _scaphandre,
    "zeusd": _zeusd,
    "kepler": _kepler,
    "alumet": _alumet,
}


def measure(meter: Meter, version: str, begin_ns: int, end_ns: int) -> Metered:
    """Let a tool measure from one monotonic time to another."""
    begin, end = meter
    _sleep_until(begin_ns)
    before_begin = time.monotonic_ns()
    begin()
    after_begin = time.monotonic_ns()
    _sleep_until(end_ns)
    before_end = time.monotonic_ns()
    seen = end()
    after_end = time.monotonic_ns()
    if isinstance(seen, Stretch):
        return Metered(version, seen.uj, (seen.begin_ns,) * 2, (seen.end_ns,) * 2)
    return Metered(version, seen, (before_begin, after_begin), (before_end, after_end))


def _sleep_until(mono_ns: int) -> None:
    left_ns = mono_ns - time.monotonic_ns()
    if left_ns < 0:
        raise TimeoutError(f"the tool was {-left_ns / NS_PER_S:.1f} s late")
    time.sleep(left_ns / NS_PER_S)


def _package(name: str) -> Any:
    return importlib.import_module(name)


def _between(read: Callable[[], float]) -> Meter:
    first: list[float] = []
    return lambda: first.append(read()), lambda: read() - first[0]


def _increase(read: Callable[[], float]) -> Meter:
    """As PromQL's ``increase`` over two scrapes: a counter that fell began anew at zero."""
    first: list[float] = []

    def end() -> float:
        last = read()
        return last - first[0] if last >= first[0] else last

    return lambda: first.append(read()), end


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _wait_for(answers: Callable[[], object]) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(OSError):
            if answers():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not answer within {READY_S:.0f} s")
        time.sleep(0.1)


@contextlib.contextmanager
def _serving(command: list[str], url: str) -> Iterator[Callable[[], str]]:
    def get() -> str:
        with urllib.request.urlopen(f"http://{url}", timeout=READY_S) as answer:
            return str(answer.read(), "utf-8")

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(get)
            yield get
        finally:
            process.kill()


def _version(name: str, path: str) -> str:
    if not path:
        return importlib.metadata.version(name)
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
    return found[0] if found else "?"


if __name__ == "__main__":
    tool, program, begin_at, end_at = sys.argv[1:]
    with TOOLS[tool](program) as ready:
        result = measure(ready, _version(tool, program), int(begin_at), int(end_at))
    print(json.dumps(dataclasses.asdict(result)))
