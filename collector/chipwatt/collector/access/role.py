"""The roles a caller may have at the collector (design §7)."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What somebody may see and do; its value is the path segment of a certificate's SPIFFE id."""

    AGENT = "agent"
    PLACEMENT = "placement"
    EGRESS = "egress"
    OPERATOR = "operator"
    NONE = "none"
