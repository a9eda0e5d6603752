"""The readers that run a program: each against a program that speaks as the real one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.metrology.peer_outputs import Stretch
from bench.metrology.peer_readers import Metered, measure

TESTS = Path(__file__).resolve().parents[2]
SERVER = """#!{python}
import http.server, re, sys
if "--version" in sys.argv:
    print("program, version v1.2.3 (revision 0)")
    sys.exit()
line = " ".join(sys.argv)
port = re.search(r"127[.]0[.]0[.]1[: ](?:--port )?(\\d+)", line)
class Answer(http.server.BaseHTTPRequestHandler):
    reads = 0
    def do_GET(self):
        Answer.reads += 1
        body = ({body!r} % Answer.reads).encode()
        self.send_response(200 if self.path.startswith({url!r}) else 404)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(port[1])), Answer).serve_forever()
"""
ALUMET = """#!{python}
import datetime, re, signal, sys, time
if "--version" in sys.argv:
    print("alumet-agent 0.9.1 (2026-01-01)")
    sys.exit()
signal.signal(signal.SIGINT, lambda *_: sys.exit())
assert "plugins.rapl.no_perf_events=true" in sys.argv and sys.argv[-1] == "run"
path = re.search(r"--output-file=(\\S+)", " ".join(sys.argv))[1]
with open(path, "w") as out:
    out.write("metric;timestamp;value;resource_kind;resource_id;consumer_kind;consumer_id;domain;__late_attributes\\n")
    while True:
        now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
        out.write(f"rapl_consumed_energy_J;{{now}};0.5;cpu_package;0;local_machine;;package;\\n")
        out.flush()
        time.sleep(0.02)
"""


def reader(tmp_path: Path, name: str, source: str) -> Metered:
    program = tmp_path / name
    program.write_text(source)
    program.chmod(0o755)
    begin = time.monotonic_ns() + 2_000_000_000
    command = [sys.executable, "-m", "bench.metrology.peer_readers", name, str(program)]
    result = subprocess.run(
        [*command, str(begin), str(begin + 300_000_000)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return Metered(**json.loads(result.stdout))


ENERGY = "/cpu/get_cumulative_energy?cpu=true"


@pytest.mark.parametrize(
    ("name", "url", "body", "uj"),
    [
        ("node_exporter", "/metrics", 'node_rapl_package_joules_total{index="0"} %d', 1e6),
        ("kepler", "/metrics", 'kepler_node_cpu_joules_total{zone="package"} %d', 1e6),
        ("scaphandre", "/metrics", 'scaph_socket_energy_microjoules{socket_id="0"} %d', 1),
        ("zeusd", ENERGY, '{"0": {"cpu_energy_uj": %d}}', 1),
    ],
)
def test_a_server_is_read_once_at_each_end(
    tmp_path: Path, name: str, url: str, body: str, uj: float
) -> None:
    if name == "scaphandre" and not Path("/proc/modules").exists():
        pytest.skip("this kernel has no modules, so Scaphandre's reader needs root's mounts")
    seen = reader(tmp_path, name, SERVER.format(python=sys.executable, url=url, body=body))
    assert seen.uj == uj
    assert seen.version == "1.2.3"
    assert seen.end_ns[0] - seen.begin_ns[0] >= 250_000_000


def test_alumets_points_say_which_stretch_they_cover(tmp_path: Path) -> None:
    seen = reader(tmp_path, "alumet", ALUMET.format(python=sys.executable))
    assert seen.uj is not None
    assert seen.version == "0.9.1"
    points = seen.uj / 500_000
    assert points == round(points) >= 1
    assert points * 20_000_000 <= seen.end_ns[0] - seen.begin_ns[0] <= 300_000_000 * 1.1


def test_a_tool_that_was_not_ready_in_time_gives_no_number() -> None:
    with pytest.raises(TimeoutError, match="late"):
        measure((lambda: None, lambda: 1.0), "1", time.monotonic_ns() - 1, time.monotonic_ns())


def test_moments_are_bracketed_unless_the_tool_knows_them() -> None:
    begin = time.monotonic_ns() + 20_000_000
    seen = measure((lambda: None, lambda: 5.0), "1", begin, begin + 20_000_000)
    assert begin <= seen.begin_ns[0] <= seen.begin_ns[1] <= seen.end_ns[0] <= seen.end_ns[1]
    begin = time.monotonic_ns() + 20_000_000
    known = measure((lambda: None, lambda: Stretch(5.0, 7, 9)), "1", begin, begin + 20_000_000)
    assert known == Metered("1", 5.0, (7, 7), (9, 9))
