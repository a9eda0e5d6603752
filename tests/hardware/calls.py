"""What NVML's power calls cost and which fields a card answers, through the real binding.

Reads only. Field ids and scopes as in nvml.h 13.5.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ENERGY_MJ, AVERAGE_MW, INSTANT_MW, LIMIT_MW, ENERGY_SCOPED_MJ = 83, 185, 186, 190, 191
FIELDS = {
    "total_energy": ENERGY_MJ,
    "power_average": AVERAGE_MW,
    "power_instant": INSTANT_MW,
    "power_limit": LIMIT_MW,
    "energy": ENERGY_SCOPED_MJ,
}
SCOPES = {"gpu": 0, "module": 1, "memory": 2}
_SCOPED = ("power_average", "power_instant", "power_limit", "energy")
_MEMBERS = {1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal"}
_TOTAL_POWER_SAMPLES = 0


def number_of(value: Any) -> int | None:
    """Return what an ``nvmlFieldValue_t`` holds; None where it carries an error."""
    member = _MEMBERS.get(value.valueType)
    return None if value.nvmlReturn or member is None else int(getattr(value.value, member))


def supported(nvml: Any, handle: Any) -> dict[str, dict[str, int]]:
    """Return NVML's code for every field and scope; 0 is success."""
    found: dict[str, dict[str, int]] = {}
    for name, field in FIELDS.items():
        scopes = SCOPES if name in _SCOPED else {"gpu": 0}
        found[name] = {}
        for scope, number in scopes.items():
            try:
                (value,) = nvml.nvmlDeviceGetFieldValues(handle, [(field, number)])
            except nvml.NVMLError as error:
                found[name][scope] = int(error.value)
            else:
                found[name][scope] = int(value.nvmlReturn)
    return found


def power_calls(nvml: Any, handle: Any) -> Mapping[str, Callable[[], object]]:
    """Return the calls whose cost is of interest, each alone and the fields batched."""

    def fields(*ids: int) -> Callable[[], object]:
        return lambda: nvml.nvmlDeviceGetFieldValues(handle, list(ids))

    single = [fields(each) for each in (ENERGY_MJ, AVERAGE_MW, INSTANT_MW, LIMIT_MW)]
    return {
        "GetPowerUsage": lambda: nvml.nvmlDeviceGetPowerUsage(handle),
        "GetTotalEnergyConsumption": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle),
        "GetFieldValues of 1": fields(INSTANT_MW),
        "GetFieldValues of 4": fields(ENERGY_MJ, AVERAGE_MW, INSTANT_MW, LIMIT_MW),
        "4 times GetFieldValues of 1": lambda: [call() for call in single],
        "GetSamples of power": lambda: nvml.nvmlDeviceGetSamples(handle, _TOTAL_POWER_SAMPLES, 0),
    }


def latencies(
    nvml: Any, handle: Any, count: int = 300, pause_s: float = 0.002
) -> dict[str, dict[str, float | int | None]]:
    """Time every call ``count`` times; µs, or NVML's error code where a call fails.

    The pause lets the driver do what it does between polls; without it only the
    first call of a refresh would reach the hardware.
    """
    table: dict[str, dict[str, float | int | None]] = {}
    for name, call in power_calls(nvml, handle).items():
        took_ns: list[int] = []
        failed = None
        for _ in range(count):
            began_ns = time.perf_counter_ns()
            try:
                call()
            except nvml.NVMLError as error:
                failed = int(error.value)
                break
            took_ns.append(time.perf_counter_ns() - began_ns)
            time.sleep(pause_s)
        table[name] = {
            "p50_us": quantile_us(took_ns, 0.5),
            "p99_us": quantile_us(took_ns, 0.99),
            "error": failed,
        }
    return table


def quantile_us(took_ns: Sequence[int], q: float) -> float | None:
    """Return a quantile in µs, the value at its rank; None of nothing."""
    if not took_ns:
        return None
    ordered = sorted(took_ns)
    return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))] / 1000, 2)
