"""Rules for what measures processors: RAPL by two ways, pyRAPL, HSMP."""

from __future__ import annotations

from pathlib import Path

from chipwatt.agent.doctor.facts import Facts
from chipwatt.agent.doctor.finding import (
    GROUP,
    Finding,
    Outcome,
    Remedy,
    State,
    begin,
    block,
    capability,
    load_module,
    udev_rule,
)

PYRAPL_PLACE = Path("/sys/class/powercap")
_AMD_RAPL_KERNEL = (5, 11)
_AMD_RAPL_FAMILY = 0x17
_PERFMON_KERNEL = (5, 8)
_HSMP_FAMILY = 0x19
_POWERCAP_RULE = (
    'SUBSYSTEM=="powercap", ACTION=="add|change", KERNEL=="intel-rapl*:*", '
    f'RUN+="/bin/chgrp {GROUP} /sys%p/energy_uj", RUN+="/bin/chmod g+r /sys%p/energy_uj"\n'
)
_SGX = (
    "SGX is on, so firmware adds noise to every RAPL reading (Intel advisory 660225); windows say "
    "FILTERED. Only switching SGX off in the firmware's set-up ends it"
)
_SNP_HOST = (
    "this host can run SEV-SNP guests: one whose policy asks for it (RAPL_DIS) makes firmware stop "
    "the energy counters of the whole machine"
)


def rapl_powercap(facts: Facts, outcome: Outcome) -> Finding:
    """Look at zones, their permissions, and why there may be none."""
    finding = begin("rapl_powercap", outcome)
    base = facts.places.powercap
    _note_noise(finding, facts)
    finding.notes.extend(facts.wrong_ranges)
    if facts.counters:
        finding.there.append(f"{len(facts.counters)} zones: {', '.join(facts.counters)}")
        closed = [file for file in facts.counters.values() if not facts.process.may(file)]
        if closed:
            block(
                finding,
                f"read permission: {closed[0]} and {len(closed) - 1} more, for {facts.process}",
                udev_rule(
                    "70-chipwatt-powercap.rules",
                    _POWERCAP_RULE,
                    "--subsystem-match=powercap",
                    "a group may read the counters, also after a reboot",
                ),
                capability("CAP_DAC_READ_SEARCH", "the service may read any file"),
                Remedy(
                    "everybody may, until the next boot (other users then see fine-grained power, "
                    "see CVE-2020-8694)",
                    (f"sudo chmod a+r {base}/intel-rapl*:*/energy_uj",),
                ),
            )
            _note_namespace(finding, facts)
        return finding
    finding.missing.append(f"a RAPL zone below {base}")
    _explain_no_zone(finding, facts)
    return finding


def rapl_perf(facts: Facts, outcome: Outcome) -> Finding:
    """Look at the PMU ``power``, its module, and who may open it."""
    finding = begin("rapl_perf", outcome)
    machine, process = facts.machine, facts.process
    _note_noise(finding, facts)
    if not facts.perf_events:
        finding.missing.append(f"the energy PMU {facts.places.perf}")
        if _hidden(finding, facts):
            return finding
        if machine.cpu.is_x86:
            block(
                finding,
                "the kernel module rapl",
                load_module("rapl", "it registers the PMU (older kernels: intel_rapl_perf)"),
            )
        else:
            finding.notes.append("RAPL exists on x86 only")
        return finding
    finding.there.append(f"events {', '.join(facts.perf_events)}")
    paranoid = machine.perf_event_paranoid
    granted = {"CAP_PERFMON", "CAP_SYS_ADMIN"} & process.capabilities
    if not outcome.works and not granted and (paranoid is None or paranoid > 0):
        needed = "CAP_PERFMON" if machine.kernel >= _PERFMON_KERNEL else "CAP_SYS_ADMIN"
        block(
            finding,
            f"{needed} (kernel.perf_event_paranoid is {paranoid}, this is {process})",
            capability(needed, "the service may count system-wide events"),
            Remedy(
                "everybody may (0 opens CPU-wide events to every user)",
                ("sudo sysctl --system",),
                "/etc/sysctl.d/70-chipwatt.conf",
                "kernel.perf_event_paranoid = 0\n",
            ),
        )
    if facts.container.kind and process.filtered and not outcome.works:
        block(
            finding,
            "perf_event_open, which the runtime's seccomp filter refuses without CAP_PERFMON",
            Remedy("start the container with the capability", ("docker run --cap-add PERFMON …",)),
        )
    return finding


def pyrapl(facts: Facts, outcome: Outcome) -> Finding:
    """Look at what the optional cross-check needs."""
    finding = begin("pyrapl", outcome)
    if "pyRAPL" in facts.bindings:
        finding.there.append("the Python package pyRAPL")
    else:
        finding.missing.append("the Python package pyRAPL (optional: a cross-check only)")
        finding.remedies.append(Remedy("install it", ("pip install 'chipwatt[pyrapl]'",)))
    if not facts.counters:
        finding.missing.append("RAPL zones, see rapl_powercap")
    elif not all(facts.process.may(file) for file in facts.counters.values()):
        finding.missing.append("read permission on the counters, see rapl_powercap")
    elif finding.state is State.OFF:
        finding.notes.append(
            "the doctor compares it with our own reading by itself; for a lasting second opinion "
            "set enabled = true in [sources.pyrapl]"
        )
    if facts.places.powercap != PYRAPL_PLACE:
        finding.notes.append(f"pyRAPL reads {PYRAPL_PLACE} alone, whatever is configured")
    return finding


def hsmp(facts: Facts, outcome: Outcome) -> Finding:
    """Look at the mailbox of EPYC processors."""
    finding = begin("hsmp", outcome)
    cpu, node = facts.machine.cpu, facts.nodes.get("hsmp")
    if node is not None:
        finding.there.append(str(node))
        if not facts.process.may(node):
            block(
                finding,
                f"read permission on {node}, for {facts.process}",
                udev_rule(
                    "70-chipwatt-hsmp.rules",
                    f'KERNEL=="hsmp", GROUP="{GROUP}", MODE="0640"\n',
                    "--name-match=hsmp",
                    "a group may read it",
                ),
            )
            _note_namespace(finding, facts)
        return finding
    finding.missing.append(f"{facts.places.hsmp}")
    is_epyc = cpu.vendor == "AuthenticAMD" and cpu.family >= _HSMP_FAMILY
    if not is_epyc or not ("EPYC" in cpu.model or "Instinct" in cpu.model):
        finding.notes.append("only AMD EPYC 7003 and newer and Instinct MI300A have it")
    elif facts.machine.hypervisor:
        finding.notes.append(f"{facts.machine.hypervisor} does not pass the mailbox to its guests")
    elif facts.container.kind:
        block(
            finding,
            "the device node inside this container",
            Remedy("pass it in", ("docker run --device /dev/hsmp …",)),
        )
    else:
        block(
            finding,
            "the kernel module amd_hsmp (Linux 5.18; hsmp_acpi where ACPI describes the mailbox)",
            load_module("amd_hsmp", "it makes /dev/hsmp; 'No such device' means that HSMP is "
                        "switched off in the firmware's set-up"),
        )  # fmt: skip
    return finding


def _explain_no_zone(finding: Finding, facts: Facts) -> None:
    machine, cpu = facts.machine, facts.machine.cpu
    if facts.container.masked:
        block(
            finding,
            f"what the container runtime hides: {', '.join(facts.container.masked)}",
            Remedy(
                "bind the host's sysfs to a place that is not masked, and tell the agent",
                ("docker run -v /sys:/host/sys:ro …",),
                "agent.toml",
                '[sources.rapl_powercap]\nsysfs = "/host/sys"\n',
            ),
            Remedy(
                "in Kubernetes: a hostPath volume of /sys, mounted read-only at /host/sys, and the "
                "same line in agent.toml",
            ),
        )
    if _hidden(finding, facts):
        return
    if not cpu.is_x86:
        finding.notes.append("RAPL exists on x86 only; see hwmon for this processor")
        return
    if cpu.vendor != "GenuineIntel":
        if cpu.family < _AMD_RAPL_FAMILY:
            finding.notes.append("AMD processors have it since family 17h (2017)")
            return
        if machine.kernel < _AMD_RAPL_KERNEL:
            block(finding, "Linux 5.11 or newer: older kernels do not read RAPL on AMD")
            return
    if "intel_rapl_msr" not in machine.modules:
        block(
            finding,
            "the kernel module intel_rapl_msr (AMD's registers, too, in spite of its name)",
            load_module("intel_rapl_msr", "it makes the zones"),
        )
    else:
        finding.notes.append(
            "intel_rapl_msr is loaded and made no zone: this processor is unknown to this kernel"
        )


def _hidden(finding: Finding, facts: Facts) -> bool:
    """Say so where no command inside this machine can help."""
    machine = facts.machine
    if machine.confidential:
        finding.notes.append(
            f"this is a confidential {machine.confidential} guest: power is withheld from it on "
            "purpose, since it is a side channel. Run the agent on the host"
        )
        return True
    if machine.hypervisor:
        finding.notes.append(
            f"this is a guest of {machine.hypervisor}, which hides the registers. Run the agent on "
            "the host; QEMU 9.1 and newer can pass on the guest's share of an Intel host "
            "(-accel kvm,rapl=true,rapl-helper-socket=PATH with qemu-vmsr-helper)"
        )
        return True
    return False


def _note_noise(finding: Finding, facts: Facts) -> None:
    cpu = facts.machine.cpu
    if cpu.vendor == "GenuineIntel" and "sgx" in cpu.flags:
        finding.notes.append(_SGX)
    if "sev_snp" in cpu.flags and not facts.machine.hypervisor:
        finding.notes.append(_SNP_HOST)


def _note_namespace(finding: Finding, facts: Facts) -> None:
    if facts.process.user_namespace:
        finding.notes.append(
            "ids are mapped here (a rootless container): root inside is nobody to the host's "
            "files, so the permission has to be given on the host"
        )
