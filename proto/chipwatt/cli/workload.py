"""``chipwatt workload``: say which workloads run on this host, by hand or for a scheduler."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from chipwatt.cli import options
from chipwatt.cli.interrupts import Interrupts
from chipwatt.cli.tables import Table, show
from chipwatt.core import settings
from chipwatt.core.coarse import NOBODY
from chipwatt.core.errors import ChipwattError, ConfigError
from chipwatt.core.workload import Binding, parse_holding, parse_id

if TYPE_CHECKING:
    from chipwatt.client.workloads import WorkloadClient

SOCKET_VARIABLE = "CHIPWATT_WORKLOAD_SOCKET"
_OF_UNIT = (
    Path("/run/chipwatt-workloads/workload.sock"),
    Path("/var/lib/chipwatt-agent/workload.sock"),
)
"""Where the agent of the shipped unit listens: for a group, and else in its state directory."""
_EPILOG = """\
An id is 32 hexadecimal digits that the scheduler issued. A workload is measured from the next
whole second on and told of from its fifth minute on; no name of it leaves this host."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Classes:
    """Which class of workloads is what, as the site says: ids of 32 hexadecimal digits."""

    kubernetes: Mapping[str, Any] = field(default_factory=dict)
    """By namespace."""
    slurm: Mapping[str, Any] = field(default_factory=dict)
    """By partition."""


def add_parser(subparsers: Any) -> None:
    """Add ``workload`` to the command line."""
    parser = subparsers.add_parser(
        "workload",
        help="say which workloads run on this host",
        description="Bind workloads to chips and cgroups of this host, through the local agent.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="workload", metavar="WHAT", required=True)
    bind = kinds.add_parser("bind", help="a workload begins")
    bind.add_argument("id", type=_for_argparse(parse_id), help="of the workload")
    bind.add_argument(
        "--class", type=_for_argparse(parse_id), default=NOBODY, dest="class_id", metavar="ID",
        help="of workloads that are expected to behave alike",
    )  # fmt: skip
    bind.add_argument(
        "--device", type=_for_argparse(parse_holding), action="append", default=[],
        help="cpu/0, gpu/GPU-<uuid>, gpu/0000:c1:00.0; a part of one as gpu/GPU-<uuid>=3/7; "
        "may be given several times",
    )  # fmt: skip
    where = bind.add_mutually_exclusive_group()
    where.add_argument("--cgroup", default="", help="below /sys/fs/cgroup")
    where.add_argument("--unit", default="", help="systemd service, scope or slice")
    where.add_argument("--pid", type=int, default=0, help="a process, for its cgroup")
    options.add_json(bind)
    unbind = kinds.add_parser("unbind", help="a workload has ended")
    unbind.add_argument("id", type=_for_argparse(parse_id), help="of the workload")
    listing = kinds.add_parser("list", help="what is bound")
    options.add_json(listing)
    prolog = kinds.add_parser("slurm-prolog", help="bind the job that slurmd is about to start")
    epilog = kinds.add_parser("slurm-epilog", help="unbind the job that has ended")
    kubelet = kinds.add_parser("kubelet", help="follow the pods of this node until ended")
    kubelet.add_argument("--kubelet", type=Path, help="its pod-resources socket")
    kubelet.add_argument(
        "--every", type=options.seconds, default=10, metavar="TIME", help="(default: 10s)"
    )
    for each, by in ((prolog, "slurm"), (kubelet, "kubernetes")):
        each.add_argument("--classes", type=Path, metavar="FILE", help=f"TOML, class ids in [{by}]")
    for each in (bind, unbind, listing, prolog, epilog, kubelet):
        each.add_argument(
            "--socket", type=Path, help=f"the agent's (or ${SOCKET_VARIABLE}; default: the "
            "shipped unit's, or in the agent's state directory)",
        )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Do what was asked; returns the exit code."""
    from chipwatt.client.workloads import WorkloadClient

    with WorkloadClient(args.socket or _default_socket()) as agent:
        _WHAT[args.workload](agent, args)
    return 0


def _bind(agent: WorkloadClient, args: argparse.Namespace) -> None:
    from chipwatt.adapters import cgroups

    cgroup = args.cgroup.removeprefix(f"{cgroups.ROOT}/").strip("/")
    if args.unit:
        cgroup = cgroups.of_unit(args.unit)
    elif args.pid:
        cgroup = cgroups.of_process(args.pid)
    try:
        binding = Binding(args.id, args.class_id, cgroup, tuple(args.device))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    bound = agent.bind(binding)
    if args.json:
        answer = {"replaced": bound.replaced, "warnings": bound.warnings}
        print(json.dumps({**binding.to_plain(), **answer}))
    else:
        how = "was bound before, and is now so" if bound.replaced else "is bound"
        print(f"{args.id.hex()} {how}.")
    _warn(bound.warnings)


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print(f"chipwatt: warning: {warning}", file=sys.stderr)


def _unbind(agent: WorkloadClient, args: argparse.Namespace) -> None:
    agent.unbind(args.id)
    print(f"{args.id.hex()} is bound no more.")


def _list(agent: WorkloadClient, args: argparse.Namespace) -> None:
    found = agent.bindings()
    if args.json:
        for binding in found:
            print(json.dumps(binding.to_plain()))
        return
    if not found:
        print("no workload is bound on this host.")
        return
    table = Table(["workload", "class", "cgroup", "devices"])
    for binding in found:
        class_id = "-" if binding.class_id == NOBODY else binding.class_id.hex()
        devices = " ".join(map(str, binding.devices)) or "-"
        table.rows.append((binding.workload_id.hex(), class_id, binding.cgroup or "-", devices))
    show(table)


def _prolog(agent: WorkloadClient, args: argparse.Namespace) -> None:
    from chipwatt.adapters import gpus, slurm_job

    classes = _ids(_classes(args.classes).slurm, args.classes)
    bound = agent.bind(slurm_job.binding(os.environ, gpus.here(), classes))
    # The job's cgroup is made once its prolog has ended.
    _warn(warning for warning in bound.warnings if not warning.startswith("cgroup: "))


def _epilog(agent: WorkloadClient, _: argparse.Namespace) -> None:
    from chipwatt.adapters import slurm_job

    agent.unbind(slurm_job.workload_id(os.environ))


def _kubelet(agent: WorkloadClient, args: argparse.Namespace) -> None:
    from chipwatt.adapters import gpus, pods
    from chipwatt.client.kubelet import SOCKET, Kubelet
    from chipwatt.core import log

    log.setup(log.LogConfig())
    say = log.get(__name__)
    classes = _ids(_classes(args.classes).kubernetes, args.classes)
    problem = ""
    with Kubelet(args.kubelet or SOCKET) as kubelet, Interrupts() as interrupts:
        while True:
            try:
                wanted = pods.bindings_of(kubelet.pods(), gpus.here(), classes)
                changes = pods.follow(agent, wanted)
            except ChipwattError as error:
                if str(error) != problem:
                    say.warning("pods cannot be followed; trying again", reason=error)
                problem = str(error)
            else:
                problem = ""
                if changes != pods.Changes():
                    say.info("pods", bound=changes.bound, unbound=changes.unbound)
            if interrupts.wait(args.every):
                return


def _classes(path: Path | None) -> Classes:
    return settings.load(Classes, path)


def _ids(classes: Mapping[str, Any], path: Path | None) -> Mapping[str, bytes]:
    try:
        return {name: parse_id(str(text)) for name, text in classes.items()}
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _default_socket() -> Path:
    from chipwatt.agent.config import WORKLOAD_SOCKET, default_state_dir

    if told := os.environ.get(SOCKET_VARIABLE):
        return Path(told)
    usable = (each for each in _OF_UNIT if os.access(each, os.W_OK))
    return next(usable, default_state_dir() / WORKLOAD_SOCKET)


def _for_argparse(read: Callable[[str], T]) -> Callable[[str], T]:
    def reading(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return reading


_WHAT = {
    "bind": _bind,
    "unbind": _unbind,
    "list": _list,
    "slurm-prolog": _prolog,
    "slurm-epilog": _epilog,
    "kubelet": _kubelet,
}
