"""Rules for hwmon, the model of last resort, and sources that a site added."""

from __future__ import annotations

from chipwatt.agent.doctor.facts import Facts
from chipwatt.agent.doctor.finding import (
    GROUP,
    Finding,
    Outcome,
    Remedy,
    State,
    begin,
    block,
    load_module,
    udev_rule,
)
from chipwatt.agent.doctor.machine import AMD, INTEL

_HWMON_RULE = (
    'SUBSYSTEM=="hwmon", ACTION=="add|change", '
    f"RUN+=\"/bin/sh -c 'for f in /sys%p/power*_* /sys%p/energy*_* /sys%p/device/power*_*; do "
    f"[ -f $f ] && chgrp {GROUP} $f && chmod g+r $f; done'\"\n"
)
_GRACE_OPTION = "options acpi_power_meter force_cap_on=y\n"
_INTEL_HWMON_KERNEL = (6, 2)


def hwmon(facts: Facts, outcome: Outcome) -> Finding:
    """Look at chips that publish power in sysfs: Grace, amdgpu, Intel GPUs, Altra, POWER9."""
    finding = begin("hwmon", outcome)
    for chip in facts.chips:
        names = ", ".join(file.path.name for file in chip.channels) or "no power or energy file"
        finding.there.append(f"{chip.folder.name} {chip.name}: {names}")
    closed = [file for chip in facts.chips for file in chip.channels if not facts.process.may(file)]
    if closed:
        block(
            finding,
            f"read permission on {', '.join(map(str, closed))}, for {facts.process}",
            udev_rule(
                "70-chipwatt-hwmon.rules",
                _HWMON_RULE,
                "--subsystem-match=hwmon",
                "a group may read them (Altra and X-Gene give them to root alone)",
            ),
        )
    _grace(finding, facts)
    _gpus(finding, facts)
    _other_cpus(finding, facts)
    if not facts.chips:
        finding.missing.append(f"a chip below {facts.places.hwmon} that measures a processor")
    return finding


def estimate(facts: Facts, outcome: Outcome) -> Finding:
    """Say what the model stands for."""
    finding = begin("estimate", outcome)
    if outcome.works:
        finding.notes.append(
            "a model of CPU time, not a sensor: windows say ESTIMATED. Any interface above that "
            "comes to work replaces it"
        )
    elif finding.state is State.SPARE:
        finding.notes.append("a sensor covers the CPU, so no model is needed")
    else:
        finding.missing.append(f"{facts.places.procfs}/stat: {outcome.detail}")
    return finding


def third_party(name: str, outcome: Outcome) -> Finding:
    """Return what a source of the site's own says of itself: we know nothing else of it."""
    finding = begin(name, outcome)
    finding.notes.append("added by an installed package (entry point chipwatt.sources)")
    if not outcome.works and finding.state is State.ABSENT:
        finding.missing.append(outcome.detail)
    return finding


def no_third_party() -> Finding:
    """Return how a site adds a source, where none was added."""
    finding = Finding("third-party", State.ABSENT)
    finding.missing.append("an installed package with an entry point in chipwatt.sources")
    finding.notes.append("for an interface that we do not know; agent/README.md says how")
    return finding


def _grace(finding: Finding, facts: Facts) -> None:
    machine = facts.machine
    if not machine.acpi_power_meters and not machine.cpu.is_grace_like:
        return
    if any(chip.name == "power_meter" and chip.channels for chip in facts.chips):
        return
    if "acpi_power_meter" not in machine.modules:
        block(
            finding,
            "the kernel module acpi_power_meter (CONFIG_SENSORS_ACPI_POWER)",
            load_module("acpi_power_meter", "it publishes Grace's power meters"),
        )
    if not machine.force_cap_on:
        block(
            finding,
            "the option acpi_power_meter.force_cap_on=y, without which Grace shows no power",
            Remedy(
                "where it is a module",
                ("sudo modprobe -r acpi_power_meter; sudo modprobe acpi_power_meter",),
                "/etc/modprobe.d/chipwatt-grace.conf",
                _GRACE_OPTION,
            ),
            Remedy(
                "where it is built in: on the kernel's command line, then reboot",
                ("sudo grubby --update-kernel=ALL --args=acpi_power_meter.force_cap_on=y",),
            ),
        )


def _gpus(finding: Finding, facts: Facts) -> None:
    machine = facts.machine
    for gpu in machine.made_by(AMD):
        if gpu.runtime_status == "suspended":
            finding.notes.append(
                f"{gpu.address} is suspended and left asleep: it gives nothing until it is used, "
                f"or until echo on | sudo tee /sys/bus/pci/devices/{gpu.address}/power/control"
            )
    intel = [gpu for gpu in machine.made_by(INTEL) if gpu.driver in ("i915", "xe")]
    if intel and not any(chip.name in ("i915", "xe") for chip in facts.chips):
        if machine.kernel < _INTEL_HWMON_KERNEL:
            finding.notes.append("i915 publishes a discrete GPU's energy since Linux 6.2")
        else:
            finding.notes.append(
                f"{intel[0].address}: integrated GPUs have no energy file of their own; theirs is "
                "RAPL's domain uncore"
            )


def _other_cpus(finding: Finding, facts: Facts) -> None:
    machine = facts.machine
    if facts.chips or machine.hypervisor:
        return
    if machine.cpu.platform == "PowerNV" and "ibmpowernv" not in machine.modules:
        block(
            finding,
            "the kernel module ibmpowernv",
            load_module("ibmpowernv", "it publishes POWER9's sensors"),
        )
    ampere = machine.cpu.implementer == "0xc0" or machine.cpu.part == "0xd0c"
    if ampere and "smpro_hwmon" not in machine.modules:
        block(
            finding,
            "a driver of Ampere's sensors, where the board wires them to the host",
            load_module("smpro_hwmon", "it publishes CPU, SoC and DIMM power"),
        )
