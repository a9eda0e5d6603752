"""Tells Slurm how much power is left at each node: its weight, and ``headroom_w`` in its extra.

Slurm prefers low weights: a node's is 1 with all of its tightest budget left, and
1001 or more with nothing left. ``extra`` holds ``{"headroom_w": 900}``, in whole steps,
for jobs that ask with ``--extra="headroom_w>500"`` where ``SchedulerParameters`` has
``extra_constraints``. Each change makes Slurm plan anew, so that only what moved is
pushed, many nodes a call, at most once a minute.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chipwatt.client import HeadroomInfo, PlacementClient
from chipwatt.core import log
from chipwatt.core.errors import ChipwattError

LEAST_EVERY_S = 60
_NODES_AT_ONCE = 500
_TIMEOUT_S = 30
_MOST_WEIGHT = 65_000
_LEFT_WITHOUT_LIMIT_W = 1_000_000_000
# Brackets and commas would make Slurm read several nodes out of one name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_log = log.get(__name__)


class ScontrolFailed(ChipwattError):
    """``scontrol`` is not there, or said no."""

    exit_code = 69


@dataclass(frozen=True, slots=True)
class Standing:
    """What Slurm is told of a node."""

    weight: int
    headroom_w: int


def standings(
    hosts: Iterable[str],
    headrooms: Mapping[str, HeadroomInfo],
    step_mw: int,
) -> dict[str, Standing]:
    """Return by host what Slurm is told; headroom is rounded down to whole steps, from 0."""
    found = {}
    for host in hosts:
        own = headrooms[host]
        if own.headroom_mw is None:
            found[host] = Standing(1, _LEFT_WITHOUT_LIMIT_W)
            continue
        binding = headrooms.get(own.binding_node_id, own)
        budget_mw = max(1, binding.budget_mw)
        used = (budget_mw - own.headroom_mw) * 1000 // budget_mw
        left_mw = max(0, own.headroom_mw) // step_mw * step_mw
        found[host] = Standing(1 + min(max(0, used), _MOST_WEIGHT), left_mw // 1000)
    return found


def commands(moved: Mapping[str, Standing]) -> list[list[str]]:
    """Return the ``scontrol`` command lines, nodes with the same standing together."""
    same: dict[Standing, list[str]] = {}
    for host, standing in moved.items():
        same.setdefault(standing, []).append(host)
    lines = []
    for standing, names in sorted(same.items(), key=lambda item: item[0].weight):
        extra = json.dumps({"headroom_w": standing.headroom_w}, separators=(",", ":"))
        for first in range(0, len(names), _NODES_AT_ONCE):
            some = ",".join(names[first : first + _NODES_AT_ONCE])
            lines.append(
                ["scontrol", "update", f"NodeName={some}", f"Weight={standing.weight}",
                 f"Extra={extra}"]
            )  # fmt: skip
    return lines


class Pusher:
    """Keeps Slurm's nodes up to date; remembers what it has told."""

    def __init__(self, client: PlacementClient, step_mw: int) -> None:
        self._client, self._step_mw = client, step_mw
        self._told: dict[str, Standing] = {}
        self._skipped: set[str] = set()

    def moved(self) -> dict[str, Standing]:
        """Return what Slurm has to be told now. Raises CollectorUnreachable or RequestRefused."""
        nodes = self._client.topology().nodes
        headrooms = {item.node_id: item for item in self._client.headroom()}
        hosts = [node.id for node in nodes if node.kind == "host" and node.id in headrooms]
        unusable = {host for host in hosts if not _NAME.fullmatch(host)}
        for host in sorted(unusable - self._skipped):
            _log.warning("not a name for Slurm, left out", node=host)
        self._skipped = unusable
        usable = [host for host in hosts if host not in unusable]
        now = standings(usable, headrooms, self._step_mw)
        return {host: told for host, told in now.items() if self._told.get(host) != told}

    def push(self, moved: Mapping[str, Standing]) -> None:
        """Tell Slurm. Raises ScontrolFailed; what was not told is tried again next time."""
        faults = []
        for command in commands(moved):
            fault = _ran(command)
            if fault:
                faults.append(fault)
                continue
            names = command[2].removeprefix("NodeName=").split(",")
            self._told.update({name: moved[name] for name in names})
        if faults:
            raise ScontrolFailed(f"{faults[0]} ({len(faults)} of its calls failed)")


def push_every(pusher: Pusher, every_s: int, ended: threading.Event) -> None:
    """Push until ``ended``; what fails is logged and tried again."""
    while not ended.is_set():
        try:
            moved = pusher.moved()
            pusher.push(moved)
            _log.info("told Slurm", nodes=len(moved))
        except ChipwattError as error:
            _log.warning("Slurm was not told everything", reason=str(error))
        ended.wait(every_s)


def _ran(command: list[str]) -> str:
    """Run a command; returns what went wrong, in words, or nothing."""
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        return "scontrol is not on the PATH"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"scontrol: {type(error).__name__}"
    if done.returncode == 0:
        return ""
    said = (done.stderr or done.stdout).strip().splitlines()
    return f"scontrol: {said[0] if said else f'ended with {done.returncode}'}"
