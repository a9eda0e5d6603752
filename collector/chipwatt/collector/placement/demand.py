"""What a workload that is to be placed is expected to draw: demands checked and made sums of.

Replicas of one demand go to one node together. Those in phase, because they are
a gang or because their class swings, are counted with the sum of their peaks:
training steps lock together, and even at random phases the square root of their
number says less than they draw (bimodal power is no bell curve). For the others
levels add up, and of what each may rise above its level the square root of the
sum of squares is counted.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Protocol

from chipwatt.collector.answering import invalid, not_found
from chipwatt.v1 import placement_pb2 as pb

MAX_DEMAND_MW = 10**15
"""A terawatt: more is a mistake, and float64 still counts single milliwatts."""
MAX_REPLICAS = 1_000_000
IN_PHASE_FROM_SWING = 2
"""Swing class (clear) from which on replicas are taken to peak together."""
MAX_SWING = 3
_ID = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class DemandShape:
    """What one replica draws, and how replicas add up."""

    mean_mw: int
    peak_mw: int
    swing_class: int
    """0 none, 1 weak, 2 clear, 3 strong."""
    replicas: int
    in_phase: bool
    """Replicas peak together."""


class KnownProfile(Protocol):
    """What a demand takes from the profile of its class."""

    @property
    def mean_mw(self) -> int: ...
    @property
    def peak_mw(self) -> int: ...
    @property
    def swing_class(self) -> int: ...


class KnownProfiles(Protocol):
    """Where demands look up their classes."""

    def profile(self, class_id: bytes, hw_class: str) -> KnownProfile | None:
        """Return what is known of a class on a model of hardware; None: too little."""
        ...


def shape_of(
    demand: pb.Demand, profiles: KnownProfiles, hw_class: str, field: str = "demand"
) -> DemandShape:
    """Check a demand and return its shape on hardware of ``hw_class``; ``field`` is its name.

    An inline mean of 0 counts as the peak. A class that was not seen on this hardware
    counts as on all hardware together. Raises Refused: INVALID_ARGUMENT, or NOT_FOUND for
    a class without a profile.
    """
    replicas = demand.replicas or 1
    if replicas > MAX_REPLICAS:
        raise invalid(f"{field}.replicas: {replicas}, at most {MAX_REPLICAS}")
    hint, least = demand.duration_hint_s, demand.min_duration_s
    if hint and least > hint:
        raise invalid(f"{field}.min_duration_s: {least} s, longer than duration_hint_s, {hint} s")
    mean_mw, peak_mw, swing_class = _one_replica(demand, profiles, hw_class, field)
    if replicas * peak_mw > MAX_DEMAND_MW:
        raise invalid(
            f"{field}: {replicas} replicas of {peak_mw} mW are more than {MAX_DEMAND_MW} mW (1 TW)"
        )
    in_phase = bool(demand.gang_id) or swing_class >= IN_PHASE_FROM_SWING
    return DemandShape(mean_mw, peak_mw, swing_class, replicas, in_phase)


def peak_of(shape: DemandShape) -> int:
    """Return the power in mW that a reservation of it holds: the peak of all replicas."""
    if shape.in_phase or shape.replicas == 1:
        return shape.replicas * shape.peak_mw
    rise_mw = shape.peak_mw - shape.mean_mw
    return shape.replicas * shape.mean_mw + _root_up(shape.replicas * rise_mw * rise_mw)


def mean_of(shape: DemandShape) -> int:
    """Return the mean power of all replicas in mW."""
    return shape.replicas * shape.mean_mw


def parse_class_id(text: str, field: str) -> bytes:
    """Read 32 hexadecimal digits. Raises Refused (INVALID_ARGUMENT)."""
    return _parse_id(text, "class", field)


def parse_workload_id(text: str, field: str) -> bytes:
    """Read 32 hexadecimal digits. Raises Refused (INVALID_ARGUMENT)."""
    return _parse_id(text, "workload", field)


def _parse_id(text: str, of: str, field: str) -> bytes:
    if not _ID.fullmatch(text):
        raise invalid(f"{field}: a {of} id is 32 hexadecimal digits, not {text[:40]!r}")
    return bytes.fromhex(text)


def _one_replica(
    demand: pb.Demand, profiles: KnownProfiles, hw_class: str, field: str
) -> tuple[int, int, int]:
    """Return mean, peak and swing class of one replica."""
    given = demand.WhichOneof("profile")
    if given == "inline":
        return _inline(demand.inline, f"{field}.inline")
    if given != "class_id":
        raise invalid(f"{field}.profile: give class_id or inline; a demand without power fits all")
    class_id = parse_class_id(demand.class_id, f"{field}.class_id")
    known = profiles.profile(class_id, hw_class) or profiles.profile(class_id, "")
    if known is None:
        raise not_found(
            f"{field}.class_id: no profile of class {demand.class_id} yet (it takes five windows "
            "of a minute); give inline power instead"
        )
    return known.mean_mw, known.peak_mw, known.swing_class


def _inline(inline: pb.InlineProfile, field: str) -> tuple[int, int, int]:
    if not inline.peak_mw:
        raise invalid(f"{field}.peak_mw: 0; a workload that draws nothing needs no place")
    if inline.peak_mw > MAX_DEMAND_MW:
        raise invalid(f"{field}.peak_mw: {inline.peak_mw}, at most {MAX_DEMAND_MW} (1 TW)")
    if inline.mean_mw > inline.peak_mw:
        raise invalid(
            f"{field}.mean_mw: {inline.mean_mw} mW, more than the peak, {inline.peak_mw} mW"
        )
    if inline.swing_class > MAX_SWING:
        raise invalid(f"{field}.swing_class: {inline.swing_class}, at most {MAX_SWING}")
    return inline.mean_mw or inline.peak_mw, inline.peak_mw, inline.swing_class


def _root_up(square: int) -> int:
    """Return the square root, rounded up: a margin is never rounded away."""
    root = math.isqrt(square)
    return root + (root * root < square)
