"""The rule for deadlines: may the sensing process sample at real-time priority, and what lets it.

Facts from sched(7): CAP_SYS_NICE, or RLIMIT_RTPRIO of 1 or more, which a process
may raise by itself up to its hard limit.
"""

from __future__ import annotations

from chipwatt.agent.doctor.facts import Facts
from chipwatt.agent.doctor.finding import UNIT, Finding, Remedy, State, block, capability

NAME = "deadlines"


def scheduling(facts: Facts, *, wanted: bool) -> Finding:
    """Return the finding; ``wanted`` is the setting ``sensing.real_time``."""
    if not wanted:
        off = Finding(NAME, State.OFF)
        off.notes.append("sensing.real_time is false: a busy machine makes polls late")
        return off
    process = facts.process
    if "CAP_SYS_NICE" in process.capabilities and not process.user_namespace:
        return Finding(NAME, State.WORKS, there=["real-time priority, by CAP_SYS_NICE"])
    if process.real_time_limit:
        return Finding(NAME, State.WORKS, there=["real-time priority, by the limit RTPRIO"])
    finding = Finding(NAME, State.ABSENT)
    block(
        finding,
        f"real-time priority for sampling: polls are late while the machine is busy ({process})",
        Remedy(
            "the service may ask for it, and for nothing else",
            ("sudo systemctl daemon-reload", f"sudo systemctl restart {UNIT}"),
            f"/etc/systemd/system/{UNIT}.service.d/real-time.conf",
            "[Service]\nLimitRTPRIO=1\n",
        ),
        capability("CAP_SYS_NICE", "the service may set any priority"),
    )
    if facts.container.kind:
        finding.remedies.insert(
            0, Remedy("start the container with the limit", ("docker run --ulimit rtprio=1 …",))
        )
    return finding
