"""Records as flat JSON objects, with the names that the query API uses."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from chipwatt.client.values import ConflictInfo, OpenGap
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import flag_names
from chipwatt.core.records import DeviceWindow, Gap, HostSecond

Record = DeviceWindow | HostSecond | Gap | OpenGap | ConflictInfo


def as_json(record: Record) -> dict[str, Any]:
    """Return the record as plain values; what a sensor could not say is None."""
    row: dict[str, Any] = {}
    if isinstance(record, Gap | OpenGap):
        row["open"] = isinstance(record, OpenGap)
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name == "flags":
            row["flags"] = flag_names(value)
        elif field.name == "throttle":
            throttled = asdict(value)
            row["limit_mw"] = throttled.pop("limit_mw")
            row.update({f"throttled_{name}": spent_ms for name, spent_ms in throttled.items()})
        elif field.name in ("profile", "provenance"):
            row.update({each.name: _plain(getattr(value, each.name)) for each in fields(value)})
        else:
            row[field.name] = _plain(value)
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, DeviceId):
        return str(value)
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    return value.name.lower() if hasattr(value, "name") else value
