"""The doctor's answer as one object: facts of the host, a finding an interface, the cross-check.

Every source is really opened, as the agent would, so that a finding never
contradicts what the agent then does; the facts say why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from chipwatt.agent.doctor.advice import advise
from chipwatt.agent.doctor.cpu_advice import PYRAPL_PLACE
from chipwatt.agent.doctor.cross_check import cross_check
from chipwatt.agent.doctor.facts import Facts, Places, gather
from chipwatt.agent.doctor.finding import Finding, Outcome
from chipwatt.agent.doctor.scheduling import scheduling
from chipwatt.agent.doctor.units import units
from chipwatt.agent.inventory import Inventory, open_inventory
from chipwatt.agent.opening import Careful
from chipwatt.agent.sensing import registry
from chipwatt.agent.sensing.contract import SourceUnavailable, TransientReadError
from chipwatt.agent.sensing.registry import Registered
from chipwatt.agent.sensing_config import SensingConfig, SourceTables, source_configs
from chipwatt.core.clock import Clock, SystemClock

_LEAST_COMPARED = 1


def examine(
    sensing: SensingConfig | None = None,
    sources: SourceTables | None = None,
    *,
    where: str = "defaults",
    root: Path = Path("/"),
    registered: Mapping[str, Registered] | None = None,
    is_installed: Callable[[str], bool] | None = None,
    clock: Clock | None = None,
    careful: Careful | None = None,
) -> dict[str, Any]:
    """Return an object with ``host``, ``deadlines``, ``units``, ``interfaces``, ``cross_check``.

    Ready for JSON; ``cross_check`` is None where nothing can be compared.

    Raises ConfigError for settings that cannot be, naming ``where`` they come
    from; nothing that the machine lacks is raised.
    """
    sensing = sensing or SensingConfig()
    clock = clock or SystemClock()
    registered = registry.load() if registered is None else registered
    configs = source_configs(registered, sensing, sources or {}, where)
    facts = gather(Places.of(root, configs), is_installed)
    inventory = open_inventory(registered, configs, sensing.sources, clock, careful=careful)
    try:
        outcomes = _outcomes(inventory)
    finally:
        inventory.close()
    findings = advise(facts, outcomes)
    return {
        "host": _host(facts),
        "deadlines": plain(scheduling(facts, wanted=sensing.real_time)),
        "units": plain(units(facts)),
        "interfaces": [
            {
                **plain(finding),
                "source_says": outcomes.get(finding.name, Outcome(False)).detail,
                "source_reason": outcomes.get(finding.name, Outcome(False)).reason,
            }
            for finding in findings
        ],
        "cross_check": _second_opinion(facts, registered, configs, clock),
    }


def _outcomes(inventory: Inventory) -> dict[str, Outcome]:
    found = {
        each.name: Outcome(
            True,
            len(each.kept),
            missing=tuple(f"{what}: {detail}" for what, _, detail in each.missing()),
        )
        for each in inventory.opened
    }
    for absence in inventory.absent:
        outcome = Outcome(False, 0, absence.reason.name, absence.detail)
        found.setdefault(absence.name, outcome)
    return found


def _second_opinion(
    facts: Facts, registered: Mapping[str, Registered], configs: Mapping[str, Any], clock: Clock
) -> dict[str, Any] | None:
    """Compare with pyRAPL for a second, where it is installed and may read the same counters."""
    if not {"rapl_powercap", "pyrapl"} <= set(registered) or "pyRAPL" not in facts.bindings:
        return None
    if not facts.counters or facts.places.powercap != PYRAPL_PLACE:
        return None
    ours = registered["rapl_powercap"].make(configs["rapl_powercap"])
    theirs = registered["pyrapl"].make(replace(configs["pyrapl"], enabled=True))
    try:
        compared = cross_check(ours, theirs, clock)
    except (SourceUnavailable, TransientReadError) as error:
        return {"with": "pyRAPL", "counters": [], "agrees": None, "problem": str(error)}
    return {
        "with": "pyRAPL",
        "counters": [asdict(each) for each in compared],
        "agrees": all(each.agrees for each in compared) if compared else None,
        "problem": "" if len(compared) >= _LEAST_COMPARED else "no counter is seen by both",
    }


def _host(facts: Facts) -> dict[str, Any]:
    machine, process = facts.machine, facts.process
    return {
        "cpu": machine.cpu.model or machine.cpu.vendor,
        "kernel": ".".join(map(str, machine.kernel)),
        "hypervisor": machine.hypervisor,
        "confidential_guest": machine.confidential,
        "container": facts.container.kind,
        "perf_event_paranoid": machine.perf_event_paranoid,
        "uid": process.uid,
        "capabilities": sorted(process.capabilities),
        "user_namespace": process.user_namespace,
        "gpus": [
            {"address": gpu.address, "vendor": f"{gpu.vendor:04x}", "driver": gpu.driver}
            for gpu in machine.gpus
        ],
    }


def plain(finding: Finding) -> dict[str, Any]:
    """Return it ready for JSON."""
    remedies = [{**asdict(each), "commands": list(each.commands)} for each in finding.remedies]
    return {**asdict(finding), "state": finding.state.value, "remedies": remedies}
