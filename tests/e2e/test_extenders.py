"""Two Kubernetes extenders and a collector as processes: a nearly full rack is never overfilled.

The test is the scheduler: for each of 200 pods, sixteen at a time and half of them through
each extender, it asks filter, then prioritize, takes the best node, and binds.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from chipwatt.client import PlacementClient
from e2e.programs import Collector, Program, no_traceback, until
from fakes.agent_stream import send
from fakes.kube_api import KubeApiServer, kube_api
from fakes.telemetry_records import a_host, steady

pytestmark = pytest.mark.e2e
W = 1_000
HOSTS = 8
DRAWN_MW, POD_MW = 200 * W, 700 * W
PODS, AT_ONCE = 200, 16
CANARY = "canary-5eb1"
NODES = [f"node-{number}" for number in range(HOSTS)]
RACK = '[[node]]\nid = "rack"\nkind = "rack"\nbudget = "23kW"\nsafety_margin = 0.04\n'
HOST = '[[node]]\nid = "{0}"\nkind = "host"\nparents = ["rack"]\nrated = "10kW"\nhost = "{1}"\n'


class Telemetry(threading.Thread):
    """Ten minutes of every host, and then each second as it passes."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._ended = threading.Event()
        self._told_s = dict.fromkeys(range(HOSTS), int(time.time()) - 600)
        self._tell(1)

    def run(self) -> None:
        sequence = 1
        while not self._ended.wait(2):
            sequence += 1
            # On a machine that is busy with other things a round may fail; the next one tells it.
            with suppress(grpc.RpcError):
                self._tell(sequence)

    def end(self) -> None:
        self._ended.set()
        self.join()

    def _tell(self, sequence: int) -> None:
        for number, told_s in self._told_s.items():
            now_s = int(time.time())
            seconds = steady(told_s, [(DRAWN_MW, DRAWN_MW)] * (now_s - told_s))
            send(self._address, a_host(number + 1), [seconds], first_sequence=sequence)
            self._told_s[number] = now_s


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    folder = tmp_path_factory.mktemp("collector")
    hosts = [HOST.format(name, a_host(n + 1).hex()) for n, name in enumerate(NODES)]
    (folder / "topology.toml").write_text("\n".join([RACK, *hosts]))
    with Collector(folder, settings={"topology": folder / "topology.toml"}) as running:
        telling = Telemetry(running.address)
        telling.start()
        yield running
        telling.end()
        no_traceback(running.said())
        assert CANARY not in running.said()
    kept = [path for path in (folder / "state").rglob("*") if path.is_file()]
    assert kept
    assert all(CANARY.encode() not in path.read_bytes() for path in kept)


def extender(folder: Path, name: str, collector: Collector, *args: object) -> tuple[Program, str]:
    """Start one; return it and its address. It must not let a pod pass unasked."""
    program = Program(
        "chipwatt.cli", folder, name, "adapter", "k8s", "--listen", "127.0.0.1:0", "--announce",
        "--collector", collector.address, "--deadline", "20s", "--when-unavailable", "fail",
        "--draw", f"cpu={POD_MW // W}W", "--draw", "pod=1mW", *args,
    )  # fmt: skip
    until(lambda: "listening" in program.said(), what=f"{name}: {program.said()}")
    line = next(line for line in program.said().splitlines() if "listening" in line)
    return program, str(json.loads(line)["listening"])


def ask(address: str, verb: str, body: dict[str, Any]) -> Any:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("POST", f"/scheduler/{verb}", json.dumps(body))
        reply = connection.getresponse()
        assert reply.status == 200, reply.read()
        said = reply.read()
        assert CANARY.encode() not in said
        return json.loads(said)
    finally:
        connection.close()


def schedule(address: str, *, binds: bool) -> str:
    """Do what kube-scheduler does with one pod; return its node, or nothing."""
    uid = str(uuid.uuid4())
    container = {
        "resources": {"requests": {"cpu": "1"}},
        "env": [{"name": "KEY", "value": CANARY}],
        "args": [CANARY],
    }
    pod = {
        "metadata": {"uid": uid, "name": CANARY, "annotations": {"a": CANARY}},
        "spec": {"containers": [container]},
    }
    body = {"Pod": pod, "Nodes": None, "NodeNames": NODES}
    names = ask(address, "filter", body)["NodeNames"]
    if not names:
        return ""
    scores = ask(address, "prioritize", {**body, "NodeNames": names})
    node = max(scores, key=lambda score: score["Score"])["Host"]
    if not binds:
        return str(node)
    said = ask(address, "bind", {"PodName": f"pod-{uid}", "PodNamespace": "team", "PodUID": uid,
                                 "Node": node})  # fmt: skip
    return "" if said["Error"] else str(node)


@pytest.mark.parametrize("binds", [True, False])
def test_two_extenders_never_overfill_a_rack(
    collector: Collector, tmp_path: Path, binds: bool
) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(PlacementClient(collector.address))
        kube = stack.enter_context(kube_api(KubeApiServer()))
        more = ("--kube-api", kube.url) if binds else ()

        def room_mw() -> int:
            (rack,) = client.headroom(["rack"])
            assert rack.headroom_mw is not None
            return rack.headroom_mw

        def settled() -> bool:
            (rack,) = client.headroom(["rack"])
            return rack.provenance.reporting_ppm == 1_000_000 and rack.reserved_mw == 0

        until(settled, 60, what="telemetry of every host")
        before_mw = room_mw()
        assert 5 * POD_MW < before_mw < PODS * POD_MW, "nearly full, for two hundred pods"
        programs = [extender(tmp_path, f"extender-{n}", collector, *more) for n in range(2)]
        for program, _ in programs:
            stack.enter_context(program)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            turns = (programs[n % 2][1] for n in range(PODS))
            placed = [
                node for node in pool.map(lambda at: schedule(at, binds=binds), turns) if node
            ]
        held = [r for r in client.reservations() if r.state == "held"]
        granted_mw = sum(g.granted_mw for r in held for g in r.grants if g.node_id == "rack")
        assert len(held) == len(placed)
        assert granted_mw <= before_mw
        # It is filled to the brim, too: one more would not have gone in.
        assert before_mw - granted_mw < POD_MW + len(placed)
        assert room_mw() >= 0
        assert not binds or sorted(kube.bound.values()) == sorted(placed)
        assert schedule(programs[0][1], binds=binds) == ""
        for reservation in held:
            client.release(reservation.reservation_id)
        for program, _ in programs:
            no_traceback(program.said())
            assert CANARY not in program.said()
