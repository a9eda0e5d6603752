"""Finds out what a GPU gives: which fields in which power scope, and what its counter counts.

Sensors of a GPU, as far as it answers:

* its board: the energy counter (the integral of everything below), instantaneous
  power, and the mean of the last second. ``nvmlDeviceGetPowerUsage`` stands in for
  whichever of the two it is: a mean from Ampere on, but instantaneous on GA100
  (A100, A30; compute capability 8.0) and older. Field 185 is no mean there either.
* the module around it, on superchips. GPUs on one CPU share it and repeat its
  power, so it is named by the rank of that CPU: GPU 0 and 1 of a GB200 tray both
  show ``module/0``, which counts once and is the one that hwmon calls so, too.
* its memory, which is a part of the board and never added up.

On a superchip the energy counter may be the whole module's (seen on GH200:
ml-energy/zeus#172). It is therefore held against both powers for a second.
"""

from __future__ import annotations

import contextlib
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from chipwatt.agent.sensing import nvml_gpu as gpus
from chipwatt.agent.sensing.contract import Limits, Quantity, Sensor
from chipwatt.agent.sensing.nvml_binding import SILENT, ask, read_fields
from chipwatt.agent.sensing.nvml_gpu import Channel, Field, Gpu
from chipwatt.core.clock import NS_PER_MS, NS_PER_S, Clock
from chipwatt.core.identity import DeviceId, pci_uid
from chipwatt.core.model import DeviceKind, Domain, Interface, Statistic

REFRESH_NS: Final = 100 * NS_PER_MS
_COMPARE_NS: Final = NS_PER_S + REFRESH_NS + 20 * NS_PER_MS
"""Holds a second between two changes of the counter: the window of a mean."""
_COMPARE_EVERY_NS: Final = 20 * NS_PER_MS
_CPU_WORDS: Final = 64
"""Words of 64 bits in a mask of CPUs: the kernel's own limit of 4096."""
_NEAR: Final = math.log(1.25)
"""Energy and mean power of one thing agree this well over a second of a varying load."""
_MODULE_MAX_MW: Final = 6_000_000
"""Taken where a module does not tell its limit; a GB300's is 2900 W."""
_LIMITS: Final = (
    gpus.POWER_MIN_LIMIT_MW, gpus.POWER_MAX_LIMIT_MW, gpus.POWER_DEFAULT_LIMIT_MW,
)  # fmt: skip
_POWERS: Final = (
    (gpus.SCOPE_GPU, Domain.BOARD),
    (gpus.SCOPE_MODULE, Domain.MODULE),
    (gpus.SCOPE_MEMORY, Domain.MEMORY),
)


def probe(nvml: Any, index: int, max_power_mw: int) -> Gpu | None:
    """Return GPU ``index`` with what it gives; None where it gives nothing.

    ``max_power_mw`` is taken where it does not tell its largest limit.
    """
    handle = ask(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        return None
    gpu = Gpu(index, handle, str(ask(nvml, nvml.nvmlDeviceGetUUID, handle)))
    has_mean = _has_mean(nvml, handle)
    wanted = [(gpus.ENERGY_MJ, gpus.SCOPE_GPU)]
    wanted += [(field, gpus.SCOPE_MODULE) for field in _LIMITS]
    wanted += [(field, scope) for scope, _ in _POWERS
               for field in (gpus.POWER_INSTANT_MW, gpus.POWER_AVERAGE_MW)]  # fmt: skip
    answers = _answers(nvml, handle, wanted)
    board = _board(nvml, gpu, max_power_mw)
    gpu.channels = _energy(nvml, handle, board, answers)
    for scope, domain in _POWERS:
        sensor = replace(board, domain=domain, root=domain is not Domain.MEMORY)
        if domain is Domain.MODULE:
            limits = Limits(*(gpu.limit_mw(answers.get((f, scope)), "module") for f in _LIMITS))
            sensor = replace(
                sensor,
                device=_own_module(board.device, index),
                label=f"module of {board.label}",
                max_power_mw=gpu.doubts.max_power_mw(
                    limits.max_mw, domain, _MODULE_MAX_MW, f"the module of GPU {index}"
                ),
                limits=limits,
            )
        elif domain is Domain.MEMORY:
            sensor = replace(sensor, label=f"memory of {board.label}", limits=Limits())
        gpu.channels += _powers(scope, sensor, answers, has_mean=has_mean)
        if domain is Domain.BOARD:
            gpu.channels += _usage(nvml, handle, sensor, gpu.channels, has_mean=has_mean)
    return gpu if gpu.channels else None


def why_silent(nvml: Any, index: int) -> Exception | None:
    """Return with what error GPU ``index`` refuses to say who it is; None where it says so."""
    try:
        nvml.nvmlDeviceGetUUID(nvml.nvmlDeviceGetHandleByIndex(index))
    except nvml.NVMLError as error:
        return Exception(str(error)) if error.value in SILENT else None
    return None


def settle_modules(nvml: Any, found: Sequence[Gpu], clock: Clock) -> None:
    """Name modules by the CPU that they hang on, and say whose energy the counters count.

    Grace's own meters name CPU and module of a socket alike.
    """
    outer = [g for g in found if any(c.sensor.domain is Domain.MODULE for c in g.channels)]
    if not outer:
        return
    cpus = {gpu.index: _first_cpu(nvml, gpu.handle) for gpu in found}
    ranks = sorted({cpu for cpu in cpus.values() if cpu is not None})
    for gpu in outer:
        cpu = cpus[gpu.index]
        if cpu is None:
            _settle(gpu, contains=(_device(nvml, gpu),))
            continue
        beside = [_device(nvml, other) for other in found if cpus[other.index] == cpu]
        number = ranks.index(cpu)
        _settle(
            gpu,
            device=DeviceId(DeviceKind.MODULE, number),
            contains=(*beside, DeviceId(DeviceKind.CPU, number)),
        )
    for gpu in _of_module(nvml, outer, clock):
        module = next(c.sensor for c in gpu.channels if c.sensor.domain is Domain.MODULE)
        for channel in gpu.channels:
            if channel.sensor.statistic is Statistic.ENERGY:
                channel.sensor = replace(
                    module, quantity=Quantity.ENERGY_UJ, averaging_ns=0, resolution_uj=1000
                )


def _answers(nvml: Any, handle: Any, wanted: Sequence[Field]) -> dict[Field, int]:
    """Return the fields that have a value; a driver that knows no scopes may refuse them all."""
    for fields in (wanted, [field for field in wanted if field[1] == gpus.SCOPE_GPU]):
        values = ask(nvml, read_fields, nvml, handle, fields)
        if values is not None:
            return {f: v for f, v in zip(fields, values, strict=True) if isinstance(v, int)}
    return {}


def _board(nvml: Any, gpu: Gpu, max_power_mw: int) -> Sensor:
    handle = gpu.handle
    mode = ask(nvml, nvml.nvmlDeviceGetMigMode, handle)
    name = ask(nvml, nvml.nvmlDeviceGetName, handle) or "GPU"
    range_mw = ask(nvml, nvml.nvmlDeviceGetPowerManagementLimitConstraints, handle)
    usual_mw = ask(nvml, nvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)
    told_mw = (*(range_mw or (None, None)), usual_mw)
    limits = Limits(*map(gpu.limit_mw, told_mw, ("least", "largest", "default")))
    return Sensor(
        device=_device(nvml, gpu),
        domain=Domain.BOARD,
        interface=Interface.NVML,
        quantity=Quantity.POWER_MW,
        root=True,
        label=f"{gpu.index} {name}" + (" (MIG)" if mode and mode[0] else ""),
        refresh_ns=REFRESH_NS,
        max_power_mw=gpu.doubts.max_power_mw(
            limits.max_mw, Domain.BOARD, max_power_mw, f"GPU {gpu.index}"
        ),
        limits=limits,
    )


def _energy(nvml: Any, handle: Any, board: Sensor, answers: Mapping[Field, int]) -> list[Channel]:
    sensor = replace(board, quantity=Quantity.ENERGY_UJ, resolution_uj=1000)
    field = (gpus.ENERGY_MJ, gpus.SCOPE_GPU)
    if field in answers:
        return [Channel(sensor, field, factor=1000)]
    call = nvml.nvmlDeviceGetTotalEnergyConsumption
    if ask(nvml, call, handle) is None:
        return []
    return [Channel(sensor, None, call, factor=1000)]


def _powers(
    scope: int, sensor: Sensor, answers: Mapping[Field, int], *, has_mean: bool
) -> list[Channel]:
    """Return the gauges that a scope has. A module or memory that draws nothing is none."""
    kinds = [(gpus.POWER_INSTANT_MW, 0)] + [(gpus.POWER_AVERAGE_MW, NS_PER_S)] * has_mean
    return [
        Channel(replace(sensor, averaging_ns=averaging_ns), (field, scope))
        for field, averaging_ns in kinds
        if (field, scope) in answers and (answers[field, scope] or scope == gpus.SCOPE_GPU)
    ]


def _usage(
    nvml: Any, handle: Any, board: Sensor, have: Sequence[Channel], *, has_mean: bool
) -> list[Channel]:
    sensor = replace(board, averaging_ns=NS_PER_S if has_mean else 0)
    call = nvml.nvmlDeviceGetPowerUsage
    if any(c.sensor.statistic is sensor.statistic for c in have) or ask(nvml, call, handle) is None:
        return []
    return [Channel(sensor, None, call)]


def _has_mean(nvml: Any, handle: Any) -> bool:
    """Whether averaged power is a mean; where nobody knows, it is claimed to tell less."""
    capability = ask(nvml, nvml.nvmlDeviceGetCudaComputeCapability, handle)
    return capability is None or tuple(capability) > (8, 0)


def _device(nvml: Any, gpu: Gpu) -> DeviceId:
    with contextlib.suppress(ValueError):
        return DeviceId(DeviceKind.GPU, 0, uuid.UUID(gpu.uuid.removeprefix("GPU-")).int)
    pci = ask(nvml, nvml.nvmlDeviceGetPciInfo, gpu.handle)
    bus_id = pci.busId if pci else b""
    address = bus_id.decode() if isinstance(bus_id, bytes) else str(bus_id)
    with contextlib.suppress(ValueError):
        return DeviceId(DeviceKind.GPU, 0, pci_uid(address[-12:]))  # NVML's domain has 8 digits
    return DeviceId(DeviceKind.GPU, gpu.index)


def _own_module(gpu: DeviceId, index: int) -> DeviceId:
    """Return a name for the module of a GPU whose CPU nobody knows."""
    return DeviceId(DeviceKind.MODULE, 0 if gpu.uid else index, gpu.uid)


def _first_cpu(nvml: Any, handle: Any) -> int | None:
    mask = ask(nvml, nvml.nvmlDeviceGetCpuAffinity, handle, _CPU_WORDS)
    whole = sum(int(word) << 64 * n for n, word in enumerate(mask or ()))
    return (whole & -whole).bit_length() - 1 if whole else None


def _settle(gpu: Gpu, **known: Any) -> None:
    for channel in gpu.channels:
        if channel.sensor.domain is Domain.MODULE:
            channel.sensor = replace(channel.sensor, **known)


def _of_module(nvml: Any, outer: Sequence[Gpu], clock: Clock) -> list[Gpu]:
    """Return the GPUs whose energy counter grows as their module's power says, not their own."""
    seen: dict[int, list[tuple[int, list[Any]]]] = {gpu.index: [] for gpu in outer}
    end_ns = clock.mono_ns() + _COMPARE_NS
    while (now_ns := clock.mono_ns()) <= end_ns:
        for gpu in outer:
            seen[gpu.index].append((clock.mono_ns(), ask(nvml, gpu.read, nvml) or []))
        clock.sleep_until(now_ns + _COMPARE_EVERY_NS)
    return [gpu for gpu in outer if _grows_as_module(gpu, seen[gpu.index])]


def _grows_as_module(gpu: Gpu, seen: Sequence[tuple[int, list[Any]]]) -> bool:
    """Compare rise and powers between the counter's first and last change, a second apart.

    A mean is of that very second; instantaneous samples of a load that swings may
    mislead, so they serve where there is no mean.

    In doubt the counter is the module's, which is never added up beside its parts,
    so nothing can be counted twice.
    """
    whole = [(at_ns, row) for at_ns, row in seen if all(isinstance(v, int) for v in row) and row]
    where = {(c.sensor.domain, c.sensor.statistic): n for n, c in enumerate(gpu.channels)}
    energy = where.get((Domain.BOARD, Statistic.ENERGY))
    if energy is None:
        return False
    changes = [n for n in range(1, len(whole)) if whole[n][1][energy] != whole[n - 1][1][energy]]
    if len(changes) < 2:
        return True
    first, last = changes[0], changes[-1]
    span_ns = whole[last][0] - whole[first][0]
    rise_mw = (whole[last][1][energy] - whole[first][1][energy]) * NS_PER_MS / span_ns
    far = {}
    for domain in (Domain.MODULE, Domain.BOARD):
        if (domain, Statistic.AVERAGE) in where:
            power_mw = whole[last][1][where[domain, Statistic.AVERAGE]]
        elif (domain, Statistic.INSTANT) in where:
            at = where[domain, Statistic.INSTANT]
            power_mw = sum(row[at] for _, row in whole[first:last]) / (last - first)
        else:
            continue
        far[domain] = abs(math.log(max(1.0, rise_mw) / max(1.0, power_mw)))
    if Domain.BOARD not in far:
        return far[Domain.MODULE] < _NEAR
    return far[Domain.MODULE] < far[Domain.BOARD] or far[Domain.BOARD] > _NEAR
