"""Who may call what: one table of role x rpc. What does not stand in it is refused to everybody.

A row says which roles may call an rpc, how large a request may be (checked before
it is parsed: a message of empty submessages costs a hundred times its size), and
whether an operator's call goes into the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chipwatt.collector.access.role import Role
from chipwatt.core.wire import MAX_PAYLOAD_BYTES

_KIB = 1024
_SMALL = 64 * _KIB
_LISTS = 128 * _KIB
"""For lists of messages, a thousand at most: see ``counts``."""
_NAMES = 1024 * _KIB
"""For lists of names, which cost little before they are touched: tens of thousands of hosts."""
_BATCH = 2 * MAX_PAYLOAD_BYTES
"""Twice what is taken, so that a batch somewhat too large gets a refusal of its own."""
MOST_BYTES = _NAMES


@dataclass(frozen=True, slots=True)
class Row:
    """What holds for one rpc."""

    roles: frozenset[Role]
    max_bytes: int = _SMALL
    """Of one request message, as it comes over the wire."""
    is_audited: bool = False
    """Whether calls of operators are noted."""


def _for(*roles: Role, max_bytes: int = _SMALL, is_audited: bool = True) -> Row:
    return Row(frozenset(roles), max_bytes, is_audited)


_AGENTS = _for(Role.AGENT, max_bytes=_BATCH, is_audited=False)
_OPERATORS = _for(Role.OPERATOR)
_INVENTORY = _for(Role.OPERATOR, Role.EGRESS)
_PLACEMENT = _for(Role.OPERATOR, Role.PLACEMENT)
_PLACEMENT_NAMES = _for(Role.OPERATOR, Role.PLACEMENT, max_bytes=_NAMES)

TABLE: Mapping[str, Row] = {
    f"/chipwatt.v1.{rpc}": row
    for rpc, row in {
        "TelemetryService/Stream": _AGENTS,
        "QueryService/ListHosts": _INVENTORY,
        "QueryService/ListDevices": _INVENTORY,
        "QueryService/ListWindows": _INVENTORY,  # of egress by the minute: see egress.policy
        "QueryService/ListHostSeconds": _OPERATORS,
        "QueryService/ListGaps": _OPERATORS,
        "QueryService/GetLatest": _for(Role.OPERATOR, max_bytes=_NAMES),
        "QueryService/ListConflicts": _OPERATORS,
        "QueryService/GetCollectorStatus": _INVENTORY,
        "PlacementService/GetTopology": _PLACEMENT,
        "PlacementService/WatchTopology": _PLACEMENT,
        "PlacementService/GetHeadroom": _PLACEMENT_NAMES,
        "PlacementService/PredictPeak": _PLACEMENT,
        "PlacementService/GetProfile": _PLACEMENT,
        "PlacementService/ListProfiles": _PLACEMENT,
        "PlacementService/RankCandidates": _PLACEMENT_NAMES,
        "PlacementService/WhatIf": _for(Role.OPERATOR, Role.PLACEMENT, max_bytes=_LISTS),
        "PlacementService/Reserve": _PLACEMENT,
        "PlacementService/Commit": _PLACEMENT,
        "PlacementService/Release": _PLACEMENT,
        "PlacementService/ListReservations": _PLACEMENT,
        "PlacementService/WatchPowerEvents": _PLACEMENT,
        "PlacementService/SubmitFeedback": _PLACEMENT,
        "PlacementService/GetSiteFactors": _PLACEMENT,
        # Each holder for itself, whatever it asks for.
        "CertificateService/Renew": _for(Role.AGENT, Role.PLACEMENT, Role.EGRESS, Role.OPERATOR),
        # What a joule costs and emits is the site's word, not a scheduler's.
        "PlacementService/PutSiteFactors": _for(Role.OPERATOR, max_bytes=_LISTS),
    }.items()
}


def permits(row: Row, roles: frozenset[Role]) -> bool:
    """Return whether somebody with these roles may call the rpc of ``row``."""
    return not row.roles.isdisjoint(roles)
