"""Reads a trace file of any known format, which it recognises by the first line."""

from __future__ import annotations

from pathlib import Path

from chipwatt.agent.sensing.contract import Quantity
from chipwatt.agent.trace.formats import Format, Mllog, PtDaemon, Table
from chipwatt.agent.trace.gather import Gather
from chipwatt.agent.trace.model import Trace
from chipwatt.agent.trace.power9 import Power9Accumulator, Power9Phases, Power9Sensor
from chipwatt.core.errors import TraceError
from chipwatt.core.model import DeviceKind

OWN_POWER = Table(
    name="Chipwatt's own (unix_ns,device,power_mw)",
    header=("unix_ns", "device", "power_mw"),
    value="power_mw",
    power_of_ten=0,
    kind=None,
    device="device",
    stamp_in_ns=True,
)
OWN_ENERGY = Table(
    name="Chipwatt's own (unix_ns,device,energy_uj)",
    header=("unix_ns", "device", "energy_uj"),
    value="energy_uj",
    power_of_ten=0,
    kind=None,
    device="device",
    quantity=Quantity.ENERGY_UJ,
    stamp_in_ns=True,
)
FORMATS: tuple[Format, ...] = (
    OWN_POWER,
    OWN_ENERGY,
    Table(
        name="GPU power by card (timestamp,device,power_watts)",
        header=("timestamp", "device", "power_watts"),
        value="power_watts",
        power_of_ten=3,
        kind=DeviceKind.GPU,
        device="device",
    ),
    Table(
        name="board power (Timestamp (s),Power (mW))",
        header=("timestamp (s)", "power (mw)"),
        value="power (mw)",
        power_of_ten=0,
        kind=DeviceKind.BOARD,
        label="board",
    ),
    Table(
        name="node power by IPMI (Timestamp,Power,Hostname)",
        header=("timestamp", "power", "hostname"),
        value="power",
        power_of_ten=3,
        kind=DeviceKind.BOARD,
        device="hostname",
    ),
    Mllog(),
    PtDaemon(),
    Power9Sensor(),
    Power9Accumulator(),
    Power9Phases(),
)
_FIRST_LINE_CHARACTERS = 65_536


def read_trace(path: Path) -> Trace:
    """Read the trace in ``path``.

    Raises TraceError, in one sentence: the file cannot be opened, its format is
    not known, or it has no row that can be used.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            chosen = _format_of(file.readline(_FIRST_LINE_CHARACTERS))
            file.seek(0)
            gather = Gather()
            chosen.read(file, gather)
            return gather.trace(path.name, chosen.name)
    except OSError as error:
        raise TraceError(f"{path}: the trace cannot be read: {error.strerror}") from None
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from None


def _format_of(first_line: str) -> Format:
    for each in FORMATS:
        if each.recognise(first_line):
            return each
    known = "; ".join(each.name for each in FORMATS if not isinstance(each, Power9Phases))
    shown = "".join(c if c.isprintable() else "?" for c in first_line.strip()[:60])
    begins = f"the file begins with {shown!r}" if shown else "the file is empty"
    raise TraceError(f"unknown trace format ({begins}); known are {known}")
