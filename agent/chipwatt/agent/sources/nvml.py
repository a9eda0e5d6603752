"""NVIDIA GPUs through NVML (binding ``nvidia-ml-py``, module ``pynvml``).

One sensor a GPU, the first of these that it answers (facts: nvml.h 13.5):

1. total energy since the driver was loaded, in mJ (Volta and newer; the value
   moves about every 100 ms; a driver reload starts it anew, it never wraps);
2. field 186, instantaneous power;
3. ``nvmlDeviceGetPowerUsage``: the mean of the last second on Ampere and newer,
   but instantaneous on GA100 (A100, A30; compute capability 8.0) and older.

A GPU that falls off the bus gives no readings, the others go on; it is looked
for again every ten seconds. Once all are gone, or the driver is, the source
breaks, and whoever runs it may open it anew. Process lists
are never asked for: that call holds the driver's global lock for milliseconds.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from chipwatt.agent.sensing.contract import (
    Quantity,
    Reading,
    Sensor,
    SourceUnavailable,
    TransientReadError,
)
from chipwatt.agent.sensing.nvml_binding import does_not_start, field_integer, load_binding
from chipwatt.agent.sensing.registry import source
from chipwatt.core.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from chipwatt.core.identity import DeviceId, pci_uid
from chipwatt.core.model import AbsentReason, DeviceKind, Domain, Interface
from chipwatt.core.records import Throttle

# Field ids and return codes as in nvml.h; older releases of the binding lack some of the names.
_FIELD_ENERGY_MJ = 83
_FIELD_POWER_INSTANT_MW = 186
_FIELD_THROTTLED_POWER_NS = 74
_FIELDS_THROTTLED_THERMAL_NS = (269, 270)  # by software, by hardware
_FIELD_THROTTLED_BRAKE_NS = 271
_NO_DATA = 21
_GPU_GONE = frozenset({15, 16, 28})  # lost, reset required, not found
_LIBRARY_GONE = frozenset({1, 9, 18})  # uninitialized, driver not loaded, version mismatch
_REFRESH_NS = 100 * NS_PER_MS
_SEARCH_NS = 10 * NS_PER_S


@dataclass(frozen=True, slots=True)
class NvmlConfig:
    """``[sources.nvml]``."""

    max_power_w: int = 2000
    """Above this a change is impossible, where a GPU does not tell its largest limit."""


@dataclass(slots=True)
class _Gpu:
    handle: Any
    sensor: Sensor
    read: Callable[[Any], int]
    """From a handle to µJ or mW, as the sensor says; raises NVMLError."""
    search_ns: int | None = None
    """When a lost GPU is looked for next; None while it is there."""


@source("nvml", NvmlConfig)
class NvmlSource:
    """One sensor a physical GPU."""

    name: ClassVar[str] = "nvml"
    interface: ClassVar[Interface] = Interface.NVML
    library: ClassVar[bool] = True
    fallback: ClassVar[bool] = False

    def __init__(self, config: NvmlConfig) -> None:
        self._config = config
        self.clock: Clock = SystemClock()
        """Stamps the readings; whoever drives the sampler on another clock sets it before open."""
        self.transient_errors = 0
        """Reads that failed since open, with those that poll did not raise for others' sake."""
        self._nvml: Any = None
        self._gpus: list[_Gpu] = []

    def open(self) -> Sequence[Sensor]:
        nvml = load_binding()
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            raise does_not_start(error) from None
        self._nvml = nvml
        try:
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            self.close()
            raise does_not_start(error) from None
        self._gpus = [gpu for index in range(count) if (gpu := self._probe(index)) is not None]
        if not self._gpus:
            self.close()
            found = (
                f"lists {count} GPUs, none of which gives energy or power"
                if count
                else "lists no GPU"
            )
            raise SourceUnavailable(
                AbsentReason.NOT_PRESENT, f"NVML {found}; `nvidia-smi -q -d POWER` shows the same"
            )
        return [gpu.sensor for gpu in self._gpus]

    def poll(self) -> Sequence[Reading]:
        readings = []
        failure: Exception | None = None
        for position, gpu in enumerate(self._gpus):
            if gpu.search_ns is not None and self.clock.mono_ns() < gpu.search_ns:
                continue
            try:
                if gpu.search_ns is not None:
                    gpu.handle = self._found_again(gpu)
                value = gpu.read(gpu.handle)
            except self._nvml.NVMLError as error:
                if error.value in _LIBRARY_GONE:
                    raise
                if error.value in _GPU_GONE:
                    gpu.search_ns = self.clock.mono_ns() + _SEARCH_NS
                    continue
                self.transient_errors += 1
                failure = error
            else:
                gpu.search_ns = None
                readings.append(Reading(position, self.clock.mono_ns(), value))
        if readings:
            return readings
        if failure is not None:
            raise TransientReadError(f"NVML: {failure}")
        raise RuntimeError("NVML: every GPU is lost")

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        return [
            (position, found)
            for position, gpu in enumerate(self._gpus)
            if gpu.search_ns is None and (found := self._throttle(gpu.handle)) != Throttle()
        ]

    def close(self) -> None:
        self._gpus = []
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
            self._nvml = None

    def _probe(self, index: int) -> _Gpu | None:
        """Return the GPU with the first quantity that it answers, None where it answers none."""
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError:
            return None
        power = Sensor(
            device=self._device(handle, index),
            domain=Domain.BOARD,
            interface=Interface.NVML,
            quantity=Quantity.POWER_MW,
            root=True,
            label=f"{index} {self._ask(nvml.nvmlDeviceGetName, handle) or 'GPU'}",
            refresh_ns=_REFRESH_NS,
            max_power_mw=self._max_power_mw(handle),
        )
        energy = replace(power, quantity=Quantity.ENERGY_UJ, resolution_uj=1000)
        usage = replace(power, averaging_ns=self._usage_averaging_ns(handle))
        choices: tuple[tuple[Sensor, Callable[[Any], int]], ...] = (
            (energy, lambda gpu: int(nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)) * 1000),
            (energy, lambda gpu: self._field(gpu, _FIELD_ENERGY_MJ) * 1000),
            (power, lambda gpu: self._field(gpu, _FIELD_POWER_INSTANT_MW)),
            (usage, lambda gpu: int(nvml.nvmlDeviceGetPowerUsage(gpu))),
        )
        for sensor, read in choices:
            with contextlib.suppress(nvml.NVMLError):
                read(handle)
                return _Gpu(handle, sensor, read)
        return None

    def _found_again(self, gpu: _Gpu) -> Any:
        """Return a lost GPU's new handle: handles do not outlive a fall from the bus."""
        device = gpu.sensor.device
        if device.uid >> 33:
            text = f"GPU-{uuid.UUID(int=device.uid)}"
            return self._nvml.nvmlDeviceGetHandleByUUID(text.encode())
        return gpu.handle

    def _device(self, handle: Any, index: int) -> DeviceId:
        text = str(self._ask(self._nvml.nvmlDeviceGetUUID, handle))
        with contextlib.suppress(ValueError):
            return DeviceId(DeviceKind.GPU, 0, uuid.UUID(text.removeprefix("GPU-")).int)
        pci = self._ask(self._nvml.nvmlDeviceGetPciInfo, handle)
        bus_id = pci.busId if pci else b""
        address = bus_id.decode() if isinstance(bus_id, bytes) else str(bus_id)
        with contextlib.suppress(ValueError):
            return DeviceId(DeviceKind.GPU, 0, pci_uid(address[-12:]))  # NVML's domain has 8 digits
        return DeviceId(DeviceKind.GPU, index)

    def _max_power_mw(self, handle: Any) -> int:
        limits = self._ask(self._nvml.nvmlDeviceGetPowerManagementLimitConstraints, handle)
        limit_mw = limits[1] if limits else 0
        return int(limit_mw) * 3 // 2 or self._config.max_power_w * 1000

    def _usage_averaging_ns(self, handle: Any) -> int:
        capability = self._ask(self._nvml.nvmlDeviceGetCudaComputeCapability, handle)
        return NS_PER_S if capability and tuple(capability) > (8, 0) else 0

    def _throttle(self, handle: Any) -> Throttle:
        ids = [_FIELD_THROTTLED_POWER_NS, *_FIELDS_THROTTLED_THERMAL_NS, _FIELD_THROTTLED_BRAKE_NS]
        values = self._ask(self._nvml.nvmlDeviceGetFieldValues, handle, ids) or ()
        spent_ms = {
            each.fieldId: spent_ns // NS_PER_MS
            for each in values
            if (spent_ns := field_integer(each)) is not None
        }
        thermal_ms = [spent_ms[each] for each in _FIELDS_THROTTLED_THERMAL_NS if each in spent_ms]
        return Throttle(
            limit_mw=self._ask(self._nvml.nvmlDeviceGetEnforcedPowerLimit, handle),
            power_ms=spent_ms.get(_FIELD_THROTTLED_POWER_NS),
            thermal_ms=sum(thermal_ms) if thermal_ms else None,
            brake_ms=spent_ms.get(_FIELD_THROTTLED_BRAKE_NS),
        )

    def _field(self, handle: Any, field: int) -> int:
        """Read one field; the call succeeds even where the value itself carries an error."""
        (value,) = self._nvml.nvmlDeviceGetFieldValues(handle, [field])
        number = field_integer(value)
        if number is None:
            raise self._nvml.NVMLError(value.nvmlReturn or _NO_DATA)
        return number

    def _ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Return what an optional call gives, None where this GPU or driver does not."""
        try:
            return call(*arguments)
        except self._nvml.NVMLError:
            return None
