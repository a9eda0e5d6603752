"""AMD GPUs through AMD SMI (binding ``amdsmi``): energy accumulator, else socket power.

Facts (AMD SMI header and binding 7.0; arXiv 2604.06056 on MI250X and MI300A):

* The accumulator counts units of 2^-16 J; the library rounds that to 15.3 µJ,
  which is 0.27 % too much, so the true unit is used here.
* A partition (CPX, NPS) repeats the power of its whole socket: only the first
  function of a PCI device counts.
* The second die of an MI250X reads 0 W; its power is in the first die's value.
* ``0xFFFF`` and ``0xFFFFFFFF`` mean "not available", however they are returned.
* Calls from several threads mix devices up: one worker calls this library.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType
from typing import Any, ClassVar

from chipwatt.agent.sensing.contract import (
    Quantity,
    Reading,
    Sensor,
    SourceUnavailable,
    TransientReadError,
)
from chipwatt.agent.sensing.registry import source
from chipwatt.core.identity import DeviceId, pci_uid
from chipwatt.core.model import AbsentReason, DeviceKind, Domain, Interface
from chipwatt.core.records import Throttle

_TRUE_UNIT_UJ = Fraction(1_000_000, 1 << 16)
_SENTINELS = (0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)
_REFRESH_NS = 1_000_000
_MI200_GRAPHICS = "gfx90a"


@dataclass(frozen=True, slots=True)
class AmdSmiConfig:
    """``[sources.amdsmi]``."""

    max_socket_power_w: int = 2000
    """Above this a change is impossible, where the card does not tell its largest cap."""
    check_seconds: float = 0.3
    """How long the accumulator is compared with the power gauge at start; 0 believes it."""


@dataclass(slots=True)
class _Card:
    handle: Any
    sensor: Sensor
    unit_uj: Fraction | None
    """Of the accumulator; None where the power gauge is read instead."""
    residency: tuple[int, ...] = ()
    residency_ns: int = 0
    throttled_ns: list[int] | None = None


@source("amdsmi", AmdSmiConfig)
class AmdSmiSource:
    """One sensor a physical socket."""

    name: ClassVar[str] = "amdsmi"
    interface: ClassVar[Interface] = Interface.AMDSMI
    library: ClassVar[bool] = True
    fallback: ClassVar[bool] = False

    def __init__(self, config: AmdSmiConfig) -> None:
        self._config = config
        self._smi: Any = None
        self._cards: list[_Card] = []

    def open(self) -> Sequence[Sensor]:
        self._smi = _binding()
        try:
            self._smi.amdsmi_init(self._smi.AmdSmiInitFlags.INIT_AMD_GPUS)
            handles = self._smi.amdsmi_get_processor_handles()
        except self._smi.AmdSmiException as error:
            self._smi = None
            raise SourceUnavailable(
                AbsentReason.LIBRARY_FAILED,
                f"AMD SMI does not start: {_reason(error)}; is the amdgpu driver loaded?",
            ) from None
        self._cards = self._physical(handles)
        if not self._cards:
            self.close()
            raise SourceUnavailable(
                AbsentReason.NOT_PRESENT, "AMD SMI found no AMD GPU with a power sensor"
            )
        return [card.sensor for card in self._cards]

    def poll(self) -> Sequence[Reading]:
        readings = []
        failure: Exception | None = None
        for position, card in enumerate(self._cards):
            try:
                value = self._energy_uj(card) if card.unit_uj else self._power_mw(card.handle)
            except self._smi.AmdSmiException as error:
                failure = error
                continue
            if value is not None:
                readings.append(Reading(position, time.monotonic_ns(), value))
        if failure is not None and not readings:
            raise TransientReadError(f"AMD SMI: {_reason(failure)}")
        return readings

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        return [(index, self._throttle(card)) for index, card in enumerate(self._cards)]

    def close(self) -> None:
        self._cards = []
        if self._smi is not None:
            with contextlib.suppress(self._smi.AmdSmiException):
                self._smi.amdsmi_shut_down()
            self._smi = None

    def _physical(self, handles: Sequence[Any]) -> list[_Card]:
        """Return one card a physical device that has a sensor of its own."""
        cards: dict[str, _Card] = {}
        for handle in handles:
            try:
                address = self._smi.amdsmi_get_gpu_device_bdf(handle).lower()
            except self._smi.AmdSmiException:
                continue
            device = address.rpartition(".")[0]
            if device in cards or self._is_partition(handle):
                continue
            card = self._card(handle, address)
            if card is not None:
                cards[device] = card
        return list(cards.values())

    def _is_partition(self, handle: Any) -> bool:
        try:
            partition = self._smi.amdsmi_get_gpu_kfd_info(handle)["current_partition_id"]
        except (self._smi.AmdSmiException, AttributeError, KeyError):
            return False
        return isinstance(partition, int) and partition not in (0, *_SENTINELS)

    def _card(self, handle: Any, address: str) -> _Card | None:
        unit_uj = self._unit_uj(handle)
        try:
            power_mw = self._power_mw(handle)
        except self._smi.AmdSmiException:
            power_mw = None
        if unit_uj is not None and power_mw and not self._credible(handle, unit_uj, power_mw):
            unit_uj = None
        if unit_uj is None and power_mw is None:
            return None
        if power_mw == 0 and self._graphics_version(handle) == _MI200_GRAPHICS:
            return None  # second die: its sibling reports for both
        limit_mw = self._limit_mw(handle, "max_power_cap")
        sensor = Sensor(
            device=DeviceId(DeviceKind.GPU, 0, pci_uid(address)),
            domain=Domain.BOARD,
            interface=self.interface,
            quantity=Quantity.ENERGY_UJ if unit_uj else Quantity.POWER_MW,
            root=True,
            label=address,
            resolution_uj=16 if unit_uj else 1,
            refresh_ns=_REFRESH_NS,
            max_power_mw=(limit_mw or self._config.max_socket_power_w * 1000) * 3 // 2,
        )
        return _Card(handle, sensor, unit_uj)

    def _unit_uj(self, handle: Any) -> Fraction | None:
        try:
            resolution = self._smi.amdsmi_get_energy_count(handle)["counter_resolution"]
        except (self._smi.AmdSmiException, KeyError):
            return None
        if not 0.001 < resolution < 1e6:
            return None
        exact = Fraction(resolution).limit_denominator(10_000)
        near = abs(exact / _TRUE_UNIT_UJ - 1) < Fraction(1, 100)
        return _TRUE_UNIT_UJ if near else exact

    def _credible(self, handle: Any, unit_uj: Fraction, power_mw: int) -> bool:
        """Compare the accumulator with the gauge: frozen and wild ones are known to exist."""
        if not self._config.check_seconds:
            return True
        try:
            before, start_ns = self._accumulator(handle), time.monotonic_ns()
            time.sleep(self._config.check_seconds)
            after, end_ns = self._accumulator(handle), time.monotonic_ns()
        except self._smi.AmdSmiException:
            return False
        energy_uj = (after - before) * unit_uj
        expected_uj = Fraction(power_mw * (end_ns - start_ns), 1_000_000)
        return expected_uj / 10 <= energy_uj <= expected_uj * 10

    def _accumulator(self, handle: Any) -> int:
        return int(self._smi.amdsmi_get_energy_count(handle)["energy_accumulator"])

    def _energy_uj(self, card: _Card) -> int | None:
        accumulator = self._accumulator(card.handle)
        unit = card.unit_uj
        if unit is None or accumulator in _SENTINELS:
            return None
        return accumulator * unit.numerator // unit.denominator

    def _power_mw(self, handle: Any) -> int | None:
        info = self._smi.amdsmi_get_power_info(handle)
        for key in ("current_socket_power", "average_socket_power", "socket_power"):
            watts = info.get(key)
            if isinstance(watts, int) and watts not in _SENTINELS:
                return watts * 1000
        return None

    def _limit_mw(self, handle: Any, key: str) -> int | None:
        try:
            cap = self._smi.amdsmi_get_power_cap_info(handle)[key]
        except (self._smi.AmdSmiException, KeyError):
            return None
        if not isinstance(cap, int) or cap <= 0 or cap in _SENTINELS:
            return None
        # Watts before AMD SMI 6, microwatts since: no card's cap is 100 kW or 0.1 W.
        return cap * 1000 if cap < 100_000 else cap // 1000

    def _graphics_version(self, handle: Any) -> str:
        try:
            return str(self._smi.amdsmi_get_gpu_asic_info(handle)["target_graphics_version"])
        except (self._smi.AmdSmiException, AttributeError, KeyError, UnicodeDecodeError):
            return ""

    def _throttle(self, card: _Card) -> Throttle:
        limit_mw = self._limit_mw(card.handle, "power_cap")
        now_ns = time.monotonic_ns()
        try:
            status = self._smi.amdsmi_get_violation_status(card.handle)
            keys = ("acc_counter", "acc_ppt_pwr", "acc_socket_thrm", "acc_hbm_thrm", "acc_vr_thrm")
            residency = tuple(int(status[key]) for key in (*keys, "acc_prochot_thrm"))
        except (self._smi.AmdSmiException, AttributeError, KeyError, TypeError, ValueError):
            return Throttle(limit_mw=limit_mw)
        if card.throttled_ns is None:
            card.throttled_ns = [0, 0, 0]
        elif residency[0] > card.residency[0]:
            # Accumulators count firmware ticks; their share of all ticks is a share of time.
            ticks, elapsed_ns = residency[0] - card.residency[0], now_ns - card.residency_ns
            gained = [max(0, new - old) for new, old in zip(residency, card.residency, strict=True)]
            for slot, count in enumerate((gained[1], max(gained[2:5]), gained[5])):
                card.throttled_ns[slot] += elapsed_ns * min(count, ticks) // ticks
        card.residency, card.residency_ns = residency, now_ns
        power_ns, thermal_ns, brake_ns = card.throttled_ns
        return Throttle(
            limit_mw=limit_mw,
            power_ms=power_ns // 1_000_000,
            thermal_ms=thermal_ns // 1_000_000,
            brake_ms=brake_ns // 1_000_000,
        )


def _binding() -> ModuleType:
    """Import ``amdsmi``, which prints and raises KeyError or AttributeError on a bad library."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module("amdsmi")
    except ModuleNotFoundError:
        raise SourceUnavailable(
            AbsentReason.LIBRARY_MISSING,
            "the Python package amdsmi is not installed: install the one that came with ROCm "
            "(/opt/rocm/share/amd_smi), or pip install 'chipwatt[amd]'",
        ) from None
    except (KeyError, OSError):
        raise SourceUnavailable(
            AbsentReason.LIBRARY_MISSING,
            "libamd_smi.so was not found: install ROCm's amd-smi-lib or set ROCM_PATH",
        ) from None
    except (AttributeError, ImportError) as error:
        raise SourceUnavailable(
            AbsentReason.LIBRARY_FAILED,
            f"the package amdsmi does not match libamd_smi.so ({error}): "
            "install the package of the same ROCm release",
        ) from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
