"""The rule for systemd units: do those that are installed hold what the shipped ones promise.

A unit's settings are those of its file and of its drop-ins, the last one wins, as
systemd.unit(5) has it. What systemd itself thinks of them says
``systemd-analyze security``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chipwatt.agent.doctor.facts import Facts
from chipwatt.agent.doctor.finding import GROUP, Finding, Remedy, State
from chipwatt.agent.doctor.process import File, read_file
from chipwatt.agent.doctor.renewal import KEY, check_renewal, tls_files
from chipwatt.agent.doctor.unit_files import Unit, read_unit
from chipwatt.agent.sensing.sysfs import read_text

NAME = "units"
SENSING, AGENT = "chipwatt-sensing.service", "chipwatt-agent.service"
_YES = ("yes", "true", "on", "1")
_NO_PRIVILEGE = {
    "CapabilityBoundingSet": ("", "it needs no capability"),
    "AmbientCapabilities": ("", "it needs no capability"),
    "NoNewPrivileges": ("yes", "a setuid program would give it privileges"),
    "LimitCORE": ("0", "a core dump would put its memory on a disk"),
}
PROMISES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    SENSING: {
        **_NO_PRIVILEGE,
        "PrivateNetwork": ("yes", "raw readings are in a process without a network"),
        "ProtectSystem": ("strict", "raw readings are not written to a disk"),
        "ProtectProc": ("invisible", "tenants' processes are none of its business"),
    },
    AGENT: {
        **_NO_PRIVILEGE,
        "PrivateDevices": ("yes", "the process with the network opens no device"),
        "ProtectProc": ("invisible", "tenants' processes are none of its business"),
    },
}
"""What must stand in a unit, and why."""


def units(facts: Facts) -> Finding:
    """Return the finding; a host without our units has none to check."""
    root = facts.places.root
    found = {name: read_unit(root, name) for name in (SENSING, AGENT)}
    finding = Finding(NAME, State.WORKS)
    if not any(unit.files for unit in found.values()):
        finding.state = State.OFF
        finding.notes.append(
            "no unit of systemd runs Chipwatt here; packaging/systemd has hardened ones"
        )
        return finding
    for name, unit in found.items():
        if not unit.files:
            finding.missing.append(f"{name}: the other of the two is installed, this is not")
            continue
        finding.there.append(f"{name}: {', '.join(map(str, unit.files))}")
        _check(finding, name, unit)
    _users(finding, root, found)
    _files(finding, facts, root)
    if finding.missing:
        finding.state = State.PART
    return finding


def _check(finding: Finding, name: str, unit: Unit) -> None:
    before = len(finding.missing)
    for key, (wanted, why) in PROMISES[name].items():
        told = unit.settings.get(key)
        if told is None or not _holds(told, wanted):
            now = f"{key} is not set" if told is None else f"{key}={told}"
            finding.missing.append(f"{name}: {now}, but {key}={wanted} as shipped: {why}")
    if unit.settings.get("User", "root") in {"root", "0"}:
        finding.missing.append(f"{name}: runs as root; the shipped unit has a user of its own")
    if len(finding.missing) > before:
        finding.remedies.append(
            Remedy(
                f"go back to {name} as shipped",
                (f"sudo systemctl revert {name}", f"sudo systemctl restart {name}"),
            )
        )


def _holds(told: str, wanted: str) -> bool:
    return told.lower() in _YES if wanted == "yes" else told == wanted


def _users(finding: Finding, root: Path, found: Mapping[str, Unit]) -> None:
    users, groups = _names(root / "etc/passwd"), _names(root / "etc/group")
    wanted = {unit.settings.get("User", "root") for unit in found.values() if unit.files}
    if len(wanted) < sum(bool(unit.files) for unit in found.values()):
        finding.missing.append(
            f"users: both units run as {', '.join(wanted)}, and so one can read the other's memory"
        )
    lost = sorted(wanted - users - {"root"}) + sorted({GROUP} - groups)
    if lost:
        finding.missing.append(f"users and groups: {', '.join(lost)}")
        finding.remedies.append(
            Remedy("make them as chipwatt.sysusers says", ("sudo systemd-sysusers",))
        )


def _files(finding: Finding, facts: Facts, root: Path) -> None:
    opened = [file for file in facts.counters.values() if file.mode & 0o004]
    if opened:
        finding.missing.append(
            f"secrecy of counters: everybody may read {opened[0]} and {len(opened) - 1} more, "
            "and fine-grained power tells other tenants' secrets (CVE-2020-8694)"
        )
        paths = " ".join(str(file.path) for file in opened)
        finding.remedies.append(Remedy("close them", (f"sudo chmod o-r {paths}",)))
    files = tls_files(root)
    key: File | None = read_file(root / files.get("key", KEY).relative_to("/"))
    if key is not None and key.mode & 0o007:
        finding.missing.append(f"secrecy of this host's private key: {key}")
        finding.remedies.append(Remedy("close it", (f"sudo chmod o-rwx {key.path}",)))
    check_renewal(finding, root, files)


def _names(path: Path) -> set[str]:
    return {line.partition(":")[0] for line in (read_text(path) or "").splitlines()}
