"""From facts to findings: one rule an interface, in the order in which people look for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chipwatt.agent.doctor import cpu_advice, gpu_advice, other_advice
from chipwatt.agent.doctor.facts import Facts
from chipwatt.agent.doctor.finding import Finding, Outcome, State

RULES: Mapping[str, Callable[[Facts, Outcome], Finding]] = {
    "nvml": gpu_advice.nvml,
    "amdsmi": gpu_advice.amdsmi,
    "rapl_powercap": cpu_advice.rapl_powercap,
    "rapl_perf": cpu_advice.rapl_perf,
    "hwmon": other_advice.hwmon,
    "hsmp": cpu_advice.hsmp,
    "pyrapl": cpu_advice.pyrapl,
    "estimate": other_advice.estimate,
}
NO_INTERFACE = ("replay",)
"""Sources that are none of the machine's."""


def advise(facts: Facts, outcomes: Mapping[str, Outcome]) -> list[Finding]:
    """Return a finding for every interface that we know, then for every other source."""
    nothing = Outcome(works=False, reason="DISABLED", detail="no such source is installed")
    findings = [rule(facts, outcomes.get(name, nothing)) for name, rule in RULES.items()]
    others = sorted(set(outcomes) - set(RULES) - set(NO_INTERFACE))
    findings += [other_advice.third_party(name, outcomes[name]) for name in others]
    if not others:
        findings.append(other_advice.no_third_party())
    for finding in findings:
        outcome = outcomes.get(finding.name, nothing)
        # A source that failed though no rule found a reason has to speak for itself.
        if not outcome.works and finding.state is State.ABSENT and not finding.missing:
            finding.state = State.BLOCKED
            finding.missing.append(outcome.detail)
    return findings
