"""AMD GPUs through AMD SMI (binding ``amdsmi``): energy accumulator, else socket power.

Facts (AMD SMI header and binding 7.0; arXiv 2604.06056 on MI250X and MI300A):

* The accumulator counts units of 2^-16 J; the library rounds that to 15.3 µJ,
  which is 0.27 % too much, so the true unit is used here.
* A partition (CPX, NPS) repeats the power of its whole socket: only the first
  function of a PCI device counts.
* The second die of an MI250X reads 0 W; its power is in the first die's value.
* ``0xFFFF`` and ``0xFFFFFFFF`` mean "not available", however they are returned.
* Each accumulator value comes with the firmware's own stamp; power from both
  follows the chip faster and truer than the power gauge. Stamps are believed
  if they run like our clock.
* Calls from several threads mix devices up: one worker calls this library.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from chipwatt.agent.sensing.amdsmi_binding import load_binding
from chipwatt.agent.sensing.contract import (
    Limits,
    Quantity,
    Reading,
    Sensor,
    SourceUnavailable,
    TransientReadError,
)
from chipwatt.agent.sensing.device_clock import DeviceClock
from chipwatt.agent.sensing.plausible import Doubts
from chipwatt.agent.sensing.registry import source
from chipwatt.core.identity import DeviceId, pci_uid
from chipwatt.core.model import AbsentReason, DeviceKind, Domain, Interface
from chipwatt.core.records import Throttle

_TRUE_UNIT_UJ = Fraction(1_000_000, 1 << 16)
_SENTINELS = (0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)
_REFRESH_NS = 1_000_000
_MI200_GRAPHICS = "gfx90a"
_LIKE_OURS = Fraction(1, 20)


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
    clock: DeviceClock | None
    """Of the accumulator's stamps; None where they are of no use."""
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
        self._doubts = Doubts()

    def open(self) -> Sequence[Sensor]:
        self._smi = load_binding()
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
                reading = self._read(position, card)
            except self._smi.AmdSmiException as error:
                failure = error
                continue
            if reading is not None:
                readings.append(reading)
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
        stamped = False
        try:
            power_mw = self._power_mw(handle)
        except self._smi.AmdSmiException:
            power_mw = None
        if unit_uj is not None and power_mw and self._config.check_seconds:
            credible, stamped = self._check(handle, unit_uj, power_mw)
            unit_uj = unit_uj if credible else None
        if unit_uj is None and power_mw is None:
            return None
        if power_mw == 0 and self._graphics_version(handle) == _MI200_GRAPHICS:
            return None  # second die: its sibling reports for both
        keys = ("min_power_cap", "max_power_cap", "default_power_cap")
        limits = Limits(*(self._limit_mw(handle, key, address) for key in keys))
        sensor = Sensor(
            device=DeviceId(DeviceKind.GPU, 0, pci_uid(address)),
            domain=Domain.BOARD,
            interface=self.interface,
            quantity=Quantity.ENERGY_UJ if unit_uj else Quantity.POWER_MW,
            root=True,
            label=address,
            resolution_uj=16 if unit_uj else 1,
            refresh_ns=_REFRESH_NS,
            max_power_mw=self._doubts.max_power_mw(
                limits.max_mw,
                Domain.BOARD,
                self._config.max_socket_power_w * 1500,
                f"{address}: max_power_cap",
            ),
            stamped=stamped and unit_uj is not None,
            limits=limits,
        )
        return _Card(handle, sensor, unit_uj, DeviceClock() if sensor.stamped else None)

    def _unit_uj(self, handle: Any) -> Fraction | None:
        try:
            resolution = self._smi.amdsmi_get_energy_count(handle)["counter_resolution"]
        except (self._smi.AmdSmiException, KeyError):
            return None
        if not isinstance(resolution, int | float) or not 0.001 < resolution < 1e6:
            return None
        exact = Fraction(resolution).limit_denominator(10_000)
        near = abs(exact / _TRUE_UNIT_UJ - 1) < Fraction(1, 100)
        return _TRUE_UNIT_UJ if near else exact

    def _check(self, handle: Any, unit_uj: Fraction, power_mw: int) -> tuple[bool, bool]:
        """Return whether the accumulator agrees with the gauge, and its stamps with our clock.

        Frozen and wild accumulators are known to exist.
        """
        try:
            before, start_stamp, start_ns = self._accumulator(handle)
            time.sleep(self._config.check_seconds)
            after, end_stamp, end_ns = self._accumulator(handle)
        except self._smi.AmdSmiException:
            return False, False
        energy_uj = (after - before) * unit_uj
        expected_uj = Fraction(power_mw * (end_ns - start_ns), 1_000_000)
        stamps = Fraction(end_stamp - start_stamp, end_ns - start_ns)
        return expected_uj / 10 <= energy_uj <= expected_uj * 10, abs(stamps - 1) < _LIKE_OURS

    def _accumulator(self, handle: Any) -> tuple[int, int, int]:
        """Return accumulator, its stamp in ns and when it was read."""
        count = self._smi.amdsmi_get_energy_count(handle)
        return int(count["energy_accumulator"]), int(count["timestamp"]), time.monotonic_ns()

    def _read(self, position: int, card: _Card) -> Reading | None:
        unit = card.unit_uj
        if unit is None:
            power_mw = self._power_mw(card.handle)
            return None if power_mw is None else Reading(position, time.monotonic_ns(), power_mw)
        accumulator, stamp_ns, read_ns = self._accumulator(card.handle)
        if accumulator in _SENTINELS:
            return None
        energy_uj = accumulator * unit.numerator // unit.denominator
        mono_ns = read_ns if card.clock is None else card.clock.mono_ns(stamp_ns, read_ns)
        return Reading(position, mono_ns, energy_uj)

    def _power_mw(self, handle: Any) -> int | None:
        info = self._smi.amdsmi_get_power_info(handle)
        for key in ("current_socket_power", "average_socket_power", "socket_power"):
            watts = info.get(key)
            if isinstance(watts, int) and watts not in _SENTINELS:
                return watts * 1000
        return None

    def _limit_mw(self, handle: Any, key: str, address: str) -> int | None:
        try:
            cap = self._smi.amdsmi_get_power_cap_info(handle)[key]
        except (self._smi.AmdSmiException, KeyError):
            return None
        if not isinstance(cap, int) or cap <= 0 or cap in _SENTINELS:
            return None
        # Watts before AMD SMI 6, microwatts since: no card's cap is 100 kW or 0.1 W.
        cap_uw = cap * 1_000_000 if cap < 100_000 else cap
        return self._doubts.limit_mw(cap_uw, f"{address}: {key} in uW", units_per_mw=1000)

    def _graphics_version(self, handle: Any) -> str:
        try:
            return str(self._smi.amdsmi_get_gpu_asic_info(handle)["target_graphics_version"])
        except (self._smi.AmdSmiException, AttributeError, KeyError, UnicodeDecodeError):
            return ""

    def _throttle(self, card: _Card) -> Throttle:
        limit_mw = self._limit_mw(card.handle, "power_cap", card.sensor.label)
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


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
