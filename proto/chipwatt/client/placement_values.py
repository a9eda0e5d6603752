"""Facts about power that a collector answers with: mW, shares in ppm, times in ns since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well predictions of this kind have held."""

    coverage_7d_ppm: int
    """Share of the last seven days' peaks that stayed at or below the prediction."""
    scores: int
    """Scores behind the margin."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How old an answer is and how far it can be trusted."""

    as_of_unix_ns: int
    staleness_ms: int
    reporting_ppm: int
    """Share of the hosts beneath that were heard from lately."""
    predictor: str
    """``CONFORMAL``, ``BY_THE_MINUTE``, ``N_SIGMA``, ``RC_LIKE``, ``RECENT_MAX``, ``NAMEPLATE_90``
    or ``NAMEPLATE``; empty where nothing was predicted."""
    quality: tuple[str, ...]
    """Of ``STALE``, ``PARTIAL``, ``COLD_START``, ``ESTIMATED_CHILD``, ``BY_THE_MINUTE``; empty:
    nothing weakens it."""
    model_version: int = 0
    """Grows with every change of the method that could change a number."""
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class NodeParent:
    """One supply of a power node."""

    id: str
    feed: str
    share_ppm: int


@dataclass(frozen=True, slots=True)
class Breaker:
    """What protects a node."""

    trip_curve_id: str
    continuous_mw: int


@dataclass(frozen=True, slots=True)
class TopologyNode:
    """A node of the power topology."""

    id: str
    kind: str
    """``site``, ``feed``, ``ups``, ``pdu``, ``row``, ``rack``, ``chassis``, ``host``, ``chip``."""
    parents: tuple[NodeParent, ...]
    rated_mw: int
    """0: nobody said."""
    budget_mw: int
    """0: no budget."""
    safety_margin_ppm: int
    host_id: str
    """Hosts only: the telemetry behind the node; empty where none has come yet."""
    derate_ppm: int = 0
    breaker: Breaker | None = None
    redundancy: str = ""
    """``n``, ``n_plus_1``, ``2n``; empty where nobody said."""
    thermal_zone: str = ""
    hw_class: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopologyInfo:
    """The power topology, parents before children."""

    nodes: tuple[TopologyNode, ...]
    provenance: Provenance
    version: int = 0
    """Grows with every topology file loaded."""
    file_error: str = ""
    """Why the file as it is now is not in force; empty: it is."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Nodes that fit every part that is given."""

    kinds: tuple[str, ...] = ()
    beneath_id: str = ""
    hw_class: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PredictedPeak:
    """The peak that a sum stays below over a horizon, with this probability."""

    horizon_s: int
    quantile_ppm: int
    peak_mw: int


@dataclass(frozen=True, slots=True)
class HeadroomInfo:
    """Power of one node and what is left above it."""

    node_id: str
    now_mw: int
    mean_mw: int
    peak_1s_mw: int
    predicted_peak_mw: int
    """The largest of ``predicted``."""
    budget_mw: int
    headroom_mw: int | None
    """Least over the node and every ancestor; negative: exceeded; None: no budget on the way up."""
    binding_node_id: str
    """Whose budget is the least."""
    provenance: Provenance
    reserved_mw: int = 0
    predicted: tuple[PredictedPeak, ...] = ()


@dataclass(frozen=True, slots=True)
class PeakInfo:
    """How high a node or a class of workloads will go."""

    peaks: tuple[PredictedPeak, ...]
    mean_mw: int
    time_of_peak_unix_ns: int
    """0: no template of the day yet."""
    base_mw: int
    time_of_day_mw: int
    margin_mw: int
    """The first peak is level, time of day and margin together, before clipping."""
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class PhaseLevel:
    """One level of power that a class returns to."""

    phase: str
    level_mw: int
    share_ppm: int


@dataclass(frozen=True, slots=True)
class PowerProfile:
    """What workloads of one class draw on one model of chip."""

    class_id: str
    hw_class: str
    windows: int
    last_seen_unix_ns: int
    mean_mw: int
    p50_mw: int
    p99_mw: int
    peak_mw: int
    phases: tuple[PhaseLevel, ...]
    swing_class: int
    """0 none, 1 weak, 2 clear, 3 strong."""
    duty_ppm: int
    coincidence_ppm: int
    """Peak of the sum over sum of the peaks; 1,000,000: in phase."""
    occupancy_ppm: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProfilesInfo:
    """Profiles and how far they can be trusted."""

    profiles: tuple[PowerProfile, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class CarbonForecast:
    """Carbon intensity from a time on."""

    start_unix_ns: int
    carbon_mg_per_kwh: int


@dataclass(frozen=True, slots=True)
class SiteFactors:
    """What a kilowatt-hour of a site's equipment costs beyond itself."""

    site_id: str
    pue_ppm: int
    water_ml_per_kwh: int = 0
    carbon_mg_per_kwh: int = 0
    carbon_forecast: tuple[CarbonForecast, ...] = ()
    source: str = ""
    valid_from_unix_ns: int = 0
    """0: from now on."""
    received_unix_ns: int = 0
    """Set by the collector."""
    valid_until_unix_ns: int = 0
    """The end of their window, after which what began before holds again; 0: no end."""


@dataclass(frozen=True, slots=True)
class SiteWindow:
    """What holds at a site at a time or over a window, and how old it is."""

    factors: SiteFactors
    """As they were given: those at the start, or the first of the window."""
    age_ms: int
    """Since the collector received them."""
    carbon_mg_per_kwh: int
    """Where they begin to count, by the forecast."""
    mean_carbon_mg_per_kwh: int = 0
    """Of the window's known time; 0 without a window."""
    parts: tuple[SiteFactors, ...] = ()
    """What holds in the window, in order, cut to where it does; a gap: nobody has told."""
