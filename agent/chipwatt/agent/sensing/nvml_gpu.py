"""One GPU behind NVML: its sensors, and everything of them in one call a poll.

Facts (nvml.h 13.5). A field value is asked for by id and power scope. Energy is
field 83, power 186 (instantaneous) and 185 (mean of the last second); scope 0
is the GPU, 1 the module around it (a superchip's GPU, CPU and memory), 2 its
memory. Each value of a batch has a return code and a type of its own.

The timestamp of a value is the CPU's time "of this value". Nothing says that it
is the sample's and not the call's, so readings carry the time of the poll, and
an equal value is a repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chipwatt.agent.sensing.contract import Sensor
from chipwatt.agent.sensing.nvml_binding import GPU_GONE, LIBRARY_GONE, ask, read_fields
from chipwatt.agent.sensing.plausible import Doubts
from chipwatt.core.clock import NS_PER_MS
from chipwatt.core.model import Domain
from chipwatt.core.records import Throttle

Field = tuple[int, int]
"""Field id and power scope."""
SCOPE_GPU, SCOPE_MODULE, SCOPE_MEMORY = 0, 1, 2
ENERGY_MJ, POWER_AVERAGE_MW, POWER_INSTANT_MW = 83, 185, 186
POWER_MIN_LIMIT_MW, POWER_MAX_LIMIT_MW, POWER_DEFAULT_LIMIT_MW = 187, 188, 189
POWER_CURRENT_LIMIT_MW = 190

# Cumulative ns under each clocks event reason. Low utilisation (78) is no throttling, and
# reasons without a counter cannot be told in time, so they are left out.
_SPENT_POWER = (74,)
_SPENT_THERMAL = (269, 270)  # by software, by hardware
_SPENT_THERMAL_OLD = (75,)  # drivers before these had one for both
_SPENT_BRAKE = (271,)
_SPENT_OTHER = (76, 77, 79)  # sync boost, board limit, reliability
_SPENT = (*_SPENT_POWER, *_SPENT_THERMAL, *_SPENT_THERMAL_OLD, *_SPENT_BRAKE, *_SPENT_OTHER)


@dataclass(slots=True)
class Channel:
    """One sensor and how its value is got."""

    sensor: Sensor
    field: Field | None
    """Read with the others in one call."""
    call: Callable[[Any], Any] | None = None
    """From a handle to the value, where there is no field."""
    factor: int = 1
    """From what NVML counts in to µJ or mW."""
    position: int = -1
    """Of the sensor in the source's list."""


@dataclass(slots=True)
class Gpu:
    """A physical GPU and the sensors that are read through it."""

    index: int
    handle: Any
    uuid: str
    channels: list[Channel] = field(default_factory=list)
    doubts: Doubts = field(default_factory=Doubts)
    search_ns: int | None = None
    """When it is looked for next, after it fell off the bus; None while it is there."""

    def read(self, nvml: Any) -> list[Any]:
        """Return a value in µJ or mW, or an NVMLError, for each channel.

        Raises NVMLError where the GPU or the driver is gone.
        """
        answers = iter(self._answers(nvml))
        values = []
        for channel in self.channels:
            value = next(answers) if channel.field else _called(nvml, channel, self.handle)
            values.append(value if isinstance(value, Exception) else int(value) * channel.factor)
        return values

    def throttle(self, nvml: Any) -> list[tuple[int, Throttle]]:
        """Return limits and cumulative throttled times by position, each told once."""
        board, module = self._first(Domain.BOARD), self._first(Domain.MODULE)
        fields = [(each, SCOPE_GPU) for each in _SPENT]
        if module is not None:
            fields.append((POWER_CURRENT_LIMIT_MW, SCOPE_MODULE))
        known = _known(nvml, self.handle, fields)
        spent = _spent(known)
        told: dict[int, Throttle] = {}
        if module is not None:
            limit_mw = self.limit_mw(known.get((POWER_CURRENT_LIMIT_MW, SCOPE_MODULE)), "module")
            told[module] = replace(Throttle() if board is not None else spent, limit_mw=limit_mw)
        if board is not None:
            enforced_mw = ask(nvml, nvml.nvmlDeviceGetEnforcedPowerLimit, self.handle)
            told[board] = replace(spent, limit_mw=self.limit_mw(enforced_mw, "enforced"))
        return [(position, found) for position, found in told.items() if found != Throttle()]

    def limit_mw(self, raw: Any, which: str) -> int | None:
        """Return a power limit as far as it is believed."""
        return self.doubts.limit_mw(raw, f"GPU {self.index}: its {which} power limit in mW")

    def _answers(self, nvml: Any) -> Sequence[Any]:
        fields = [channel.field for channel in self.channels if channel.field]
        try:
            return read_fields(nvml, self.handle, fields) if fields else ()
        except nvml.NVMLError as error:
            if error.value in GPU_GONE or error.value in LIBRARY_GONE:
                raise
            return [error] * len(fields)

    def _first(self, domain: Domain) -> int | None:
        """Return the position of the domain's best sensor, which is the one that tells of it."""
        own = [channel.sensor for channel in self.channels if channel.sensor.domain is domain]
        best = min(own, key=lambda sensor: sensor.statistic, default=None)
        return next((c.position for c in self.channels if c.sensor is best), None)


def _called(nvml: Any, channel: Channel, handle: Any) -> Any:
    try:
        return channel.call(handle) if channel.call else None
    except nvml.NVMLError as error:
        if error.value in GPU_GONE or error.value in LIBRARY_GONE:
            raise
        return error


def _spent(known: Mapping[Field, int]) -> Throttle:
    """Return the time spent under each reason, from ns."""
    spent_ms = {f: ns // NS_PER_MS for (f, scope), ns in known.items() if scope == SCOPE_GPU}
    thermal_ms = _sum(spent_ms, _SPENT_THERMAL)
    return Throttle(
        power_ms=_sum(spent_ms, _SPENT_POWER),
        thermal_ms=_sum(spent_ms, _SPENT_THERMAL_OLD) if thermal_ms is None else thermal_ms,
        brake_ms=_sum(spent_ms, _SPENT_BRAKE),
        other_ms=_sum(spent_ms, _SPENT_OTHER),
    )


def _known(nvml: Any, handle: Any, fields: Sequence[Field]) -> dict[Field, int]:
    answers = ask(nvml, read_fields, nvml, handle, fields) or ()
    known = zip(fields, answers, strict=False)
    return {each: value for each, value in known if isinstance(value, int)}


def _sum(spent_ms: Mapping[int, int], fields: Sequence[int]) -> int | None:
    """Add up what is known; None where nothing is."""
    known = [spent_ms[each] for each in fields if each in spent_ms]
    return sum(known) if known else None
