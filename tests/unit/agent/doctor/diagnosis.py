"""One interface's finding on a made-up machine."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from chipwatt.agent.doctor.advice import RULES
from chipwatt.agent.doctor.facts import Facts, Places, gather
from chipwatt.agent.doctor.finding import Finding, Outcome

FAILED = Outcome(works=False, reason="NOT_PRESENT", detail="what the source said")
WORKS = Outcome(works=True, sensors=2)


def facts_of(root: Path, bindings: Collection[str] = ()) -> Facts:
    return gather(Places.of(root, {}), lambda name: name in bindings)


def diagnose(
    name: str, root: Path, outcome: Outcome = FAILED, bindings: Collection[str] = ()
) -> Finding:
    return RULES[name](facts_of(root, bindings), outcome)


def told(finding: Finding) -> str:
    """Return everything that a person could act upon."""
    parts = [*finding.missing, *finding.notes]
    for remedy in finding.remedies:
        parts += [remedy.why, remedy.file, remedy.text, *remedy.commands]
    return "\n".join(parts)
