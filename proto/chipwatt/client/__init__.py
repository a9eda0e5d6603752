"""What a program asks a collector, as plain Python values.

::

    from chipwatt.client import CollectorClient

    with CollectorClient("127.0.0.1:9733") as collector:
        for host in collector.hosts():
            for window in collector.windows(host.host_id):
                print(window.device, window.energy_uj)

A placement service asks PlacementClient, which is that part alone::

    from chipwatt.client import Demand, InlineProfile, PlacementClient

    job = Demand(inline=InlineProfile(mean_mw=400_000, peak_mw=700_000))
    with PlacementClient("127.0.0.1:9733") as power:
        best = power.rank(job).candidates[0]
        power.reserve("job-17", best.host_id, job)
"""

from chipwatt.client.channel import (
    AlreadyTaken,
    InvalidRequest,
    NoRoom,
    NotKnown,
    NotOffered,
    RequestCancelled,
    RequestRefused,
    WrongState,
)
from chipwatt.client.collector import CollectorClient
from chipwatt.client.decisions import (
    BudgetChange,
    Candidate,
    CapAdvice,
    CapChange,
    Change,
    Demand,
    EventNotice,
    FeedLoss,
    Grant,
    InlineProfile,
    MoveChange,
    NodeEffect,
    Objective,
    PlaceChange,
    PowerEvent,
    Ranking,
    RemoveChange,
    Reservation,
    ScoreParts,
    WhatIfInfo,
)
from chipwatt.client.placement import PlacementClient
from chipwatt.client.placement_values import (
    Breaker,
    Calibration,
    CarbonForecast,
    HeadroomInfo,
    NodeParent,
    PeakInfo,
    PhaseLevel,
    PowerProfile,
    PredictedPeak,
    ProfilesInfo,
    Provenance,
    Selector,
    SiteFactors,
    SiteWindow,
    TopologyInfo,
    TopologyNode,
)
from chipwatt.client.values import (
    CollectorStatus,
    ConflictInfo,
    DeviceInfo,
    HostDevices,
    HostInfo,
    LatestState,
    OpenGap,
)

__all__ = [
    "AlreadyTaken",
    "Breaker",
    "BudgetChange",
    "Calibration",
    "Candidate",
    "CapAdvice",
    "CapChange",
    "CarbonForecast",
    "Change",
    "CollectorClient",
    "CollectorStatus",
    "ConflictInfo",
    "Demand",
    "DeviceInfo",
    "EventNotice",
    "FeedLoss",
    "Grant",
    "HeadroomInfo",
    "HostDevices",
    "HostInfo",
    "InlineProfile",
    "InvalidRequest",
    "LatestState",
    "MoveChange",
    "NoRoom",
    "NodeEffect",
    "NodeParent",
    "NotKnown",
    "NotOffered",
    "Objective",
    "OpenGap",
    "PeakInfo",
    "PhaseLevel",
    "PlaceChange",
    "PlacementClient",
    "PowerEvent",
    "PowerProfile",
    "PredictedPeak",
    "ProfilesInfo",
    "Provenance",
    "Ranking",
    "RemoveChange",
    "RequestCancelled",
    "RequestRefused",
    "Reservation",
    "ScoreParts",
    "Selector",
    "SiteFactors",
    "SiteWindow",
    "TopologyInfo",
    "TopologyNode",
    "WhatIfInfo",
    "WrongState",
]
