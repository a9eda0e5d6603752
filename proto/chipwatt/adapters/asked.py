"""What is left of a scheduler's question once the shim has read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Pod:
    """All that is kept of a pod."""

    uid: str
    class_id: str
    """32 hexadecimal digits; empty: none named."""
    replicas: int
    gang_id: str
    """A hash of namespace and gang; empty: no gang."""
    requests_milli: Mapping[str, int]
    """Of the listed resources, in thousandths of their unit."""


@dataclass(frozen=True, slots=True)
class Question:
    """What filter and prioritize ask."""

    pod: Pod
    names: tuple[str, ...]
    """The nodes in question, in the order given."""
    nodes: Mapping[str, Any] | None
    """Node objects by name, as given, where the scheduler wants such back."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What bind asks. The names go to the Kubernetes API and nowhere else."""

    uid: str
    node: str
    pod_name: str
    pod_namespace: str


@dataclass(frozen=True, slots=True)
class Victims:
    """What preempt asks: by node the uids of the pods that would go, and budgets violated."""

    by_node: Mapping[str, tuple[tuple[str, ...], int]]


@dataclass(frozen=True, slots=True)
class Unusable:
    """A body that cannot be answered, and why, without a word of it."""

    reason: str
