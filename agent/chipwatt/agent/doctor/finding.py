"""What the doctor says of one interface, as values; and remedies that several rules share."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

GROUP = "chipwatt"
"""The group that files are opened to, by whatever name the agent's user has it."""
UNIT = "chipwatt-sensing"
"""The unit whose process reads sensors; see ``packaging/systemd``."""


class State(StrEnum):
    """Where an interface stands."""

    WORKS = "works"
    """It is read."""
    PART = "works in part"
    """It is read, but something is missing that can be had."""
    SPARE = "spare"
    """It could be read, but another interface gives the same."""
    BLOCKED = "blocked"
    """There is something to read, and something can be done to read it."""
    ABSENT = "absent"
    """This machine has nothing that it could read."""
    OFF = "off"
    """The configuration leaves it out."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """One way to grant what is missing: a file with its text, commands, or both."""

    why: str
    commands: tuple[str, ...] = ()
    """To be typed in this order, after the file was written."""
    file: str = ""
    text: str = ""


@dataclass(slots=True)
class Finding:
    """One interface."""

    name: str
    state: State
    there: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    remedies: list[Remedy] = field(default_factory=list)
    """The best first; any one of them does unless its ``why`` says otherwise."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened when the source itself was opened."""

    works: bool
    sensors: int = 0
    reason: str = ""
    """Name of the AbsentReason."""
    detail: str = ""
    missing: tuple[str, ...] = ()
    """Sensors that an open source knows of and cannot open, with what to do."""


def begin(name: str, outcome: Outcome) -> Finding:
    """Return the finding of an interface before any rule has looked at the facts."""
    if outcome.works:
        state = State.PART if outcome.missing else State.WORKS
        there = [_sensors(outcome.sensors)]
        return Finding(name, state, there, missing=list(outcome.missing))
    if outcome.reason == "NOT_NEEDED":
        return Finding(name, State.SPARE)
    return Finding(name, State.OFF if outcome.reason == "DISABLED" else State.ABSENT)


def block(finding: Finding, missing: str, *remedies: Remedy) -> None:
    """Note that something is missing and can be granted."""
    finding.missing.append(missing)
    finding.remedies.extend(remedies)
    if finding.state is State.ABSENT:
        finding.state = State.BLOCKED


def load_module(module: str, why: str) -> Remedy:
    """Return how to load a kernel module, now and at every boot."""
    return Remedy(
        why,
        (f"sudo modprobe {module}",),
        f"/etc/modules-load.d/chipwatt-{module.replace('_', '-')}.conf",
        f"{module}\n",
    )


def capability(name: str, why: str) -> Remedy:
    """Return a drop-in that gives the agent's service one capability."""
    return Remedy(
        why,
        ("sudo systemctl daemon-reload", f"sudo systemctl restart {UNIT}"),
        f"/etc/systemd/system/{UNIT}.service.d/{name.lower().replace('_', '-')}.conf",
        f"[Service]\nAmbientCapabilities={name}\n",
    )


def udev_rule(file: str, rule: str, trigger: str, why: str) -> Remedy:
    """Return a udev rule that opens files to the group, and the commands that apply it."""
    return Remedy(
        why,
        (
            f"sudo groupadd --system --force {GROUP}",
            f"sudo usermod -aG {GROUP} $USER    # or the service's user; then log in again",
            "sudo udevadm control --reload",
            f"sudo udevadm trigger {trigger}",
        ),
        f"/etc/udev/rules.d/{file}",
        rule,
    )


def _sensors(count: int) -> str:
    return f"{count} sensor{'' if count == 1 else 's'} in use"
