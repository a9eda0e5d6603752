"""NVIDIA GPUs through NVML (binding ``nvidia-ml-py``, module ``pynvml``).

Up to three sensors a power scope: an energy counter in mJ (since the driver was
loaded; it never wraps, and a driver reload starts it anew), instantaneous power,
and the mean of the last second. All move about every 100 ms. They are read
together, in one call a GPU and poll; ``sensing/nvml_gpu`` has the call and
``sensing/nvml_probe`` what is asked for.

MIG: power and energy belong to the whole GPU, so only the parent is read, as one
GPU, and no handle of a child is ever asked for.

A GPU that falls off the bus gives no readings, the others go on; it is looked
for again every ten seconds. One that does not answer at the start is *missing*
until it does. Once all are gone, or the driver is, the source
breaks, and whoever runs it may open it anew. Process lists
are never asked for: that call holds the driver's global lock for milliseconds.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from chipwatt.agent.sensing.contract import (
    Missing,
    Reading,
    Sensor,
    SourceUnavailable,
    TransientReadError,
)
from chipwatt.agent.sensing.nvml_binding import (
    GPU_GONE,
    LIBRARY_GONE,
    does_not_start,
    load_binding,
)
from chipwatt.agent.sensing.nvml_gpu import Gpu
from chipwatt.agent.sensing.nvml_probe import probe, settle_modules, why_silent
from chipwatt.agent.sensing.registry import source
from chipwatt.core.clock import NS_PER_S, Clock, SystemClock
from chipwatt.core.model import AbsentReason, Interface
from chipwatt.core.records import Throttle

_SEARCH_NS = 10 * NS_PER_S
_HOW_BACK = "see what nvidia-smi and the kernel's log (Xid) say; a lost GPU may need a reboot"


@dataclass(frozen=True, slots=True)
class NvmlConfig:
    """``[sources.nvml]``."""

    max_power_w: int = 2000
    """Above this a change is impossible, where a GPU does not tell its largest limit."""


@source("nvml", NvmlConfig)
class NvmlSource:
    """Every physical GPU, the module around it and its memory."""

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
        self._gpus: list[Gpu] = []
        self._missing: dict[int, Missing] = {}
        self._search_ns = 0

    @property
    def missing(self) -> Sequence[Missing]:
        """GPUs that NVML lists and that do not answer."""
        return list(self._missing.values())

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
        most_mw = self._config.max_power_w * 1000
        for index in range(count):
            gpu = probe(nvml, index, most_mw)
            if gpu is not None:
                self._gpus.append(gpu)
            elif (problem := why_silent(nvml, index)) is not None:
                detail = f"NVML lists GPU {index}, which does not answer: {problem}; {_HOW_BACK}"
                reason = AbsentReason.LIBRARY_FAILED
                self._missing[index] = Missing(f"GPU {index}", reason, detail)
        if not self._gpus:
            lost = self.missing
            self.close()
            if lost:
                raise SourceUnavailable(lost[0].reason, "; ".join(each.detail for each in lost))
            found = (
                f"lists {count} GPUs, none of which gives energy or power"
                if count
                else "lists no GPU"
            )
            raise SourceUnavailable(
                AbsentReason.NOT_PRESENT, f"NVML {found}; `nvidia-smi -q -d POWER` shows the same"
            )
        settle_modules(nvml, self._gpus, self.clock)
        return self._number()

    def poll(self) -> Sequence[Reading]:
        readings: list[Reading] = []
        failure: Exception | None = None
        if self._missing:
            self._search()
        for gpu in self._gpus:
            values = self._read(gpu)
            now_ns = self.clock.mono_ns()
            for channel, value in zip(gpu.channels, values, strict=False):
                if isinstance(value, int):
                    readings.append(Reading(channel.position, now_ns, value))
                else:
                    self.transient_errors += 1
                    failure = value
        if readings:
            return readings
        if failure is not None:
            raise TransientReadError(f"NVML: {failure}")
        raise RuntimeError("NVML: every GPU is lost")

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        return [
            told for gpu in self._gpus if gpu.search_ns is None for told in gpu.throttle(self._nvml)
        ]

    def close(self) -> None:
        self._gpus = []
        self._missing = {}
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
            self._nvml = None

    def _search(self) -> None:
        """Look for GPUs that did not answer at the start, every ten seconds."""
        now_ns = self.clock.mono_ns()
        if now_ns < self._search_ns:
            return
        self._search_ns = now_ns + _SEARCH_NS
        for index in list(self._missing):
            if why_silent(self._nvml, index) is None:
                del self._missing[index]

    def _number(self) -> list[Sensor]:
        """Give every sensor its position; what two GPUs share is read through the first."""
        sensors: dict[object, Sensor] = {}
        for gpu in self._gpus:
            own = []
            for channel in gpu.channels:
                sensor = channel.sensor
                line = (sensor.device, sensor.domain, sensor.statistic)
                if line not in sensors:
                    channel.position = len(sensors)
                    sensors[line] = sensor
                    own.append(channel)
            gpu.channels = own
        self._gpus = [gpu for gpu in self._gpus if gpu.channels]
        return list(sensors.values())

    def _read(self, gpu: Gpu) -> Sequence[Any]:
        """Return a value or an NVMLError for each channel; nothing while the GPU is lost."""
        if gpu.search_ns is not None and self.clock.mono_ns() < gpu.search_ns:
            return ()
        try:
            if gpu.search_ns is not None:
                gpu.handle = self._found_again(gpu)
            values = gpu.read(self._nvml)
        except self._nvml.NVMLError as error:
            if error.value in LIBRARY_GONE:
                raise
            if error.value in GPU_GONE:
                gpu.search_ns = self.clock.mono_ns() + _SEARCH_NS
                return ()
            return [error]
        gpu.search_ns = None
        return values

    def _found_again(self, gpu: Gpu) -> Any:
        """Return a lost GPU's new handle: handles do not outlive a fall from the bus."""
        with contextlib.suppress(ValueError):
            text = f"GPU-{uuid.UUID(gpu.uuid.removeprefix('GPU-'))}"
            return self._nvml.nvmlDeviceGetHandleByUUID(text.encode())
        return gpu.handle
