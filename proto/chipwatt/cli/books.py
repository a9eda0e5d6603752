"""``chipwatt query status``: what a collector counts of itself, each with a word of meaning."""

from __future__ import annotations

import json
from dataclasses import asdict

from chipwatt.cli.quantities import duration_text, energy_text, size_text
from chipwatt.cli.tables import Table, show
from chipwatt.client.values import CollectorStatus
from chipwatt.core.clock import NS_PER_MS

_MEANINGS = {
    "batches_stored": "batches on the disk",
    "host_seconds_stored": "seconds of hosts stored",
    "device_windows_stored": "windows of sensors stored",
    "gaps_stored": "gaps that agents sent",
    "root_energy_uj": "energy stored, root domains only",
    "store_bytes": "size of the store",
    "connected": "streams of agents at present",
    "duplicates_absorbed": "batches that came again and were stored already",
    "duplicates_unverified": "of those, too old to compare contents",
    "conflicts": "batches that contradict a stored one; see `chipwatt query conflicts`",
    "refused": "batches that cannot be stored",
    "missing_batches": "batches that never came, though later ones did; see `chipwatt hosts`",
    "ledger_holes": "places where a counter went on and no window says how",
    "ledger_hole_uj": "energy that is missing there",
    "ledger_twice_uj": "energy that more than one window brought",
    "damaged": "places of the store that are damaged; see `chipwatt query gaps` and the log",
    "stalled": "why nothing can be stored at present",
    "store_failures": "attempts to store that failed and were made again",
    "streams_shed": "streams sent away for want of room; their agents keep everything",
    "otlp_points_sent": "OTLP points that were taken",
    "otlp_points_rejected": "OTLP points that the back end refused",
    "otlp_lag_ms": "how far the OTLP export is behind",
}
"""Every counter, in the order in which it is shown."""


def show_status(status: CollectorStatus, *, as_json: bool) -> None:
    """Print a collector's counters as a table, or as one JSON object."""
    if as_json:
        print(json.dumps(asdict(status)))
        return
    table = Table(["counter", ">value", "meaning"])
    for name, meaning in _MEANINGS.items():
        label = name.removesuffix("_uj").removesuffix("_ms").replace("_", " ")
        table.rows.append((label, _text(name, getattr(status, name)), meaning))
    for reason, count in sorted(status.counted.items()):
        table.rows.append((f"counted {reason}", str(count), "batches or rows, by reason"))
    show(table)


def _text(name: str, value: int | str) -> str:
    if isinstance(value, str):
        return value or "-"
    if name.endswith("_uj"):
        return energy_text(value)
    if name.endswith("_bytes"):
        return size_text(value)
    if name.endswith("_ms"):
        return duration_text(value * NS_PER_MS)
    return str(value)
