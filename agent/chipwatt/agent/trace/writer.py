"""Writes a trace as Chipwatt's own CSV: ``unix_ns,device,power_mw`` (or ``energy_uj``)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path

from chipwatt.agent.sensing.contract import Quantity
from chipwatt.agent.trace.formats import kind_of_label
from chipwatt.agent.trace.model import Trace, TraceDevice
from chipwatt.agent.trace.reader import OWN_ENERGY, OWN_POWER
from chipwatt.core.errors import TraceError
from chipwatt.core.model import DeviceKind


def write_trace(trace: Trace, path: Path) -> None:
    """Write ``trace`` to ``path``, rows in order of time.

    A device's name carries its kind (``gpu/card0``), as the format has no other
    place for it. Raises TraceError where some devices are gauges and some
    counters, which one file cannot hold, or where ``path`` cannot be written.
    """
    quantities = {device.quantity for device in trace.devices}
    if len(quantities) > 1:
        raise TraceError(
            f"{path}: a trace file holds power or energy, not both: write the gauges and the "
            "counters of this trace into two files"
        )
    table = OWN_ENERGY if Quantity.ENERGY_UJ in quantities else OWN_POWER
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(",".join(table.header) + "\n")
            for row in heapq.merge(*(_rows(device) for device in trace.devices)):
                file.write("{},{},{}\n".format(*row))
    except OSError as error:
        raise TraceError(f"{path}: the trace cannot be written: {error.strerror}") from None


def own_label(device: TraceDevice) -> str:
    """Return the device's name with its kind in front, once, fit for a cell of the file."""
    label = "".join(c if c.isprintable() and c not in ',"' else "_" for c in device.label)
    if kind_of_label(label) is device.kind and device.kind is not DeviceKind.OTHER:
        return label
    return f"{device.kind.name.lower()}/{label}"


def _rows(device: TraceDevice) -> Iterator[tuple[int, str, int]]:
    label = own_label(device)
    for stamp_unix_ns, value in zip(device.stamps_unix_ns, device.values, strict=True):
        yield stamp_unix_ns, label, value
