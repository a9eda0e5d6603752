from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from chipwatt.adapters import pods
from chipwatt.adapters.gpus import Gpus
from chipwatt.adapters.pods import Changes
from chipwatt.client.kubelet import Kubelet, KubeletUnreachable, PodDevices
from chipwatt.core.coarse import NOBODY
from chipwatt.core.errors import ChipwattError
from chipwatt.core.workload import Binding, parse_holding, parse_id
from fakes.kubelet import kubelet, listing

ONE, TWO, OLD = (f"{n * 8}-{n * 4}-{n * 4}-{n * 4}-{n * 12}" for n in "129")
CLASS = bytes(range(16))
GPUS = Gpus({}, {"MIG-a": parse_holding("gpu/0=3/7")})


class Agent:
    """What an agent keeps."""

    def __init__(self, *bound: Binding) -> None:
        self.bound = {binding.workload_id: binding for binding in bound}

    def bind(self, binding: Binding) -> bool:
        self.bound[binding.workload_id] = binding
        return False

    def unbind(self, workload_id: bytes) -> None:
        del self.bound[workload_id]

    def bindings(self) -> list[Binding]:
        return list(self.bound.values())


class AgentFull(ChipwattError):
    pass


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """Make a node's folders: two pods that run, an earlier one of the same name."""
    logs, root = tmp_path / "logs", tmp_path / "cgroup"
    for folder in (f"team_web_{ONE}", f"team_web_{OLD}", f"lab_train_{TWO}", "odd", "a_b_c"):
        (logs / folder).mkdir(parents=True)
    for uid in (ONE, TWO):
        (root / "kubepods" / f"pod{uid}").mkdir(parents=True)
    (root / "cgroup.controllers").touch()
    return tmp_path


def test_what_a_kubelet_says_becomes_bindings(node: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="cw") as folder:
        socket = Path(folder) / "kubelet.sock"
        answer = listing(
            ("lab", "train", ("MIG-a", "GPU-" + TWO)),
            ("team", "web", ("7", "nic-3")),
            ("team", "not-begun", ()),
        )
        with kubelet(socket, answer), Kubelet(socket) as client:
            found = client.pods()
        with (
            Kubelet(socket, timeout_s=2) as client,
            pytest.raises(KubeletUnreachable, match="no kubelet answers at"),
        ):
            client.pods()
    assert found[0] == PodDevices("lab", "train", ("MIG-a", "GPU-" + TWO))
    bindings = pods.bindings_of(found, GPUS, {"lab": CLASS}, node / "logs", node / "cgroup")
    assert bindings == [
        Binding(
            parse_id(TWO),
            CLASS,
            f"kubepods/pod{TWO}",
            (parse_holding("gpu/0=3/7"), parse_holding(f"gpu/GPU-{TWO}")),
        ),
        Binding(parse_id(ONE), NOBODY, f"kubepods/pod{ONE}"),
    ]


def test_the_agent_follows_the_pods_and_others_are_left_alone() -> None:
    stays, gone, by_hand = (
        Binding(parse_id(uid), cgroup=cgroup)
        for uid, cgroup in ((ONE, "kubepods/a"), (OLD, "kubepods/b"), (TWO, "system.slice/c"))
    )
    new = Binding(bytes(15) + b"\x05", cgroup="kubepods/d")
    agent = Agent(stays, gone, by_hand)
    assert pods.follow(agent, [stays, new]) == Changes(bound=1, unbound=1)
    assert agent.bindings() == [stays, by_hand, new]
    assert pods.follow(agent, [stays, new]) == Changes()


def test_a_node_without_logs_has_no_pods(tmp_path: Path) -> None:
    held = [PodDevices("a", "b", ())]
    assert pods.bindings_of(held, GPUS, {}, tmp_path / "none", tmp_path) == []


def test_who_has_gone_makes_room_for_who_has_come() -> None:
    class Full(Agent):
        def bind(self, binding: Binding) -> bool:
            if len(self.bound) >= 1:
                raise AgentFull
            return super().bind(binding)

    old, new = (Binding(parse_id(uid), cgroup=f"kubepods/{uid}") for uid in (OLD, ONE))
    agent = Full(old)
    assert pods.follow(agent, [new]) == Changes(bound=1, unbound=1)
    assert agent.bindings() == [new]
