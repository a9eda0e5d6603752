"""How old an answer is and how far it can be trusted: for every node, from the hosts beneath it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from chipwatt.collector.forecast.contract import MODEL_VERSION, Calibration, Predictor
from chipwatt.collector.placement.host_watch import HostsNow
from chipwatt.collector.placement.topology import WHOLE_PPM
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.tables import Array
from chipwatt.v1 import placement_pb2 as pb


class Quality(IntEnum):
    """What weakens an answer; numbers equal those of ``chipwatt.v1.Quality``."""

    STALE = 1
    """A host beneath was heard from, but not lately."""
    PARTIAL = 2
    """A host beneath gives no telemetry now."""
    COLD_START = 3
    """A host beneath has less than ten minutes of history, or its peers too few scores."""
    ESTIMATED_CHILD = 4
    """A host beneath has a power model instead of a sensor, or one too slow for peaks."""
    BY_THE_MINUTE = 5
    """Shown are whole minutes in coarse steps, and no second of them."""


@dataclass(frozen=True, slots=True)
class Trust:
    """How old an answer is and how far it can be trusted."""

    as_of_unix_ns: int
    """When the answer was computed."""
    staleness_ms: int
    """Age of the oldest newest second among the hosts beneath that ever sent one."""
    reporting_ppm: int
    quality: tuple[Quality, ...]
    predictor: Predictor | None = None
    """None: nothing was predicted."""
    coverage_7d_ppm: int = 0
    """Share of the last seven days' peaks at or below the prediction; 0: none scored yet."""
    scores: int = 0
    """Scores behind the margin."""


@dataclass(frozen=True, slots=True)
class Columns:
    """One number a group of hosts, in the order of the groups."""

    total: Array
    alive: Array
    stale: Array
    cold: Array
    estimated: Array
    age_ms: Array

    def trust(self, place: int, as_of_unix_ns: int) -> Trust:
        """Return the trust in one group."""
        total, alive = int(self.total[place]), int(self.alive[place])
        marks = {
            Quality.STALE: self.stale[place] > 0,
            Quality.PARTIAL: total > alive,
            Quality.COLD_START: self.cold[place] > 0,
            Quality.ESTIMATED_CHILD: self.estimated[place] > 0,
        }
        return Trust(
            as_of_unix_ns=as_of_unix_ns,
            staleness_ms=int(self.age_ms[place]),
            reporting_ppm=alive * WHOLE_PPM // total if total else WHOLE_PPM,
            quality=tuple(quality for quality, holds in marks.items() if holds),
        )


def weigh(above: Array, beneath: Array, groups: int, hosts: HostsNow, now_unix_ns: int) -> Columns:
    """Count the hosts of every group, from pairs (group, host in it)."""

    def count(which: Array) -> Array:
        counted: Array = np.bincount(above[which[beneath]], minlength=groups)
        return counted

    heard = hosts.newest_s > 0
    oldest_s = np.full(groups, now_unix_ns // NS_PER_S)
    known = heard[beneath]
    np.minimum.at(oldest_s, above[known], hosts.newest_s[beneath[known]])
    return Columns(
        total=count(np.ones_like(hosts.fresh)),
        alive=count(hosts.fresh),
        stale=count(heard & ~hosts.fresh),
        cold=count(hosts.unknown | hosts.fresh & hosts.young),
        estimated=count(hosts.fresh & hosts.estimated),
        age_ms=np.maximum(0, now_unix_ns - (oldest_s + 1) * NS_PER_S) // NS_PER_MS,
    )


def coverage_ppm(calibration: Calibration) -> int:
    """Return the share of peaks that held; 0 where nothing was scored."""
    return 0 if math.isnan(calibration.coverage) else round(calibration.coverage * WHOLE_PPM)


def provenance_message(trust: Trust) -> pb.Provenance:
    """Lay a trust out for an answer."""
    message = pb.Provenance(
        as_of_unix_ns=trust.as_of_unix_ns,
        staleness_ms=trust.staleness_ms,
        reporting_ppm=trust.reporting_ppm,
        quality=[pb.Quality.ValueType(quality) for quality in trust.quality],
        model_version=MODEL_VERSION,
    )
    if trust.predictor is not None:
        message.predictor = pb.Predictor.ValueType(trust.predictor)
        message.calibration.coverage_7d_ppm = trust.coverage_7d_ppm
        message.calibration.scores = trust.scores
    return message
