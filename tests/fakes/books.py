"""Audit of what a reducer handed out: the rules that hold whatever happened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.core import codec
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import DeviceKind, Domain, Flag, Interface
from chipwatt.core.records import DeviceWindow, Gap, HostSecond, Records


def sensor(
    number: int = 0,
    quantity: Quantity = Quantity.ENERGY_UJ,
    *,
    kind: DeviceKind = DeviceKind.CPU,
    root: bool = True,
    modulus_uj: int = 0,
    refresh_ns: int = 1_000_000,
    averaging_ns: int = 0,
    max_power_mw: int = 400_000,
    stamped: bool = False,
    flags: int = 0,
) -> Sensor:
    """Return a sensor of device ``number``."""
    interface = Interface.NVML if kind is DeviceKind.GPU else Interface.RAPL_POWERCAP
    return Sensor(
        DeviceId(kind, number),
        Domain.PACKAGE,
        interface,
        quantity,
        root,
        modulus_uj=modulus_uj,
        refresh_ns=refresh_ns,
        averaging_ns=averaging_ns,
        max_power_mw=max_power_mw,
        stamped=stamped,
        flags=flags,
    )


@dataclass
class Books:
    """One sensor's line: windows and gaps in order of time."""

    windows: list[DeviceWindow] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    @property
    def known_uj(self) -> int:
        return sum(window.energy_uj for window in self.windows)

    @property
    def lower_uj(self) -> int:
        return self.known_uj + sum(gap.lower_uj for gap in self.gaps)

    @property
    def upper_uj(self) -> int:
        return self.known_uj + sum(gap.upper_uj for gap in self.gaps)

    def audit(self) -> None:
        """Check that the parts tile time and that the sums of every epoch close."""
        parts: list[DeviceWindow | Gap] = sorted(
            [*self.windows, *self.gaps], key=lambda part: part.start_mono_ns
        )
        for before, after in pairwise(parts):
            assert before.start_mono_ns + before.duration_ns == after.start_mono_ns
        cumulative_uj: dict[int, int] = {}
        epochs: list[int] = []
        for window in (part for part in parts if isinstance(part, DeviceWindow)):
            _audit_window(window)
            begin_uj = window.cumulative_uj - window.energy_uj
            if window.epoch in cumulative_uj:
                assert begin_uj == cumulative_uj[window.epoch]
                assert not window.flags & Flag.EPOCH_START
            cumulative_uj[window.epoch] = window.cumulative_uj
            epochs.append(window.epoch)
        assert epochs == sorted(epochs)
        for gap in self.gaps:
            assert 0 <= gap.lower_uj <= gap.upper_uj


def _audit_window(window: DeviceWindow) -> None:
    profile, histogram = window.profile, window.profile.histogram
    assert window.energy_uj >= 0
    assert window.duration_ns > 0
    covered_ms = histogram.zero_ms + sum(histogram.counts_ms)
    covered_ns = window.provenance.coverage_ppm * window.duration_ns / 1_000_000
    assert abs(covered_ms - covered_ns / 1_000_000) <= 2 + window.duration_ns / 1e12
    assert (profile.min_mw is None) == (profile.max_mw is None)
    if profile.min_mw is not None and profile.max_mw is not None:
        assert profile.min_mw <= profile.max_mw


def books(batches: Iterable[Records]) -> dict[DeviceId, Books]:
    """Sort records by device, audit them, and send each batch over the wire and back."""
    found: dict[DeviceId, Books] = {}
    for records in batches:
        payload = codec.encode_records(records)
        assert codec.records_from_tables(codec.decode_tables(payload)) == records
        for window in records.windows:
            found.setdefault(window.device, Books()).windows.append(window)
        for gap in records.gaps:
            found.setdefault(gap.device, Books()).gaps.append(gap)
    for line in found.values():
        line.audit()
    return found


def seconds(batches: Iterable[Records]) -> list[HostSecond]:
    """Return all host seconds in order."""
    return [second for records in batches for second in records.host_seconds]
