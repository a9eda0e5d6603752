"""The order of a power topology: parents before children, and what circles look like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chipwatt.collector.placement.topology import PowerNode


def parents_first(nodes: Iterable[PowerNode]) -> tuple[PowerNode, ...]:
    """Return ``nodes`` with every parent before its children.

    Raises ValueError where a parent is missing or nodes feed each other in a circle.
    """
    waiting = {node.id: node for node in nodes}
    ways = {node.id: len(node.parents) for node in waiting.values()}
    children: dict[str, list[str]] = {}
    for node in waiting.values():
        for parent in node.parents:
            if parent.id not in waiting:
                raise ValueError(f"{node.id!r} names an unknown parent {parent.id!r}")
            children.setdefault(parent.id, []).append(node.id)
    ready = [name for name, count in ways.items() if not count]
    for name in ready:  # grows while it is walked
        for child in children.get(name, ()):
            ways[child] -= 1
            if not ways[child]:
                ready.append(child)
    if len(ready) != len(waiting):
        raise ValueError("nodes feed each other in a circle: " + " -> ".join(find_cycle(waiting)))
    return tuple(waiting[name] for name in ready)


def find_cycle(nodes: dict[str, PowerNode]) -> list[str]:
    """Return the ids along one circle, the first again at the end; empty where there is none."""
    done: set[str] = set()
    for start, first in nodes.items():
        if start in done:
            continue
        way, ahead, on_way = [start], [iter(first.parents)], {start}
        while way:
            onward = next((p.id for p in ahead[-1] if p.id in nodes and p.id not in done), None)
            if onward is None:  # a node is outside every circle once all its parents are
                ahead.pop()
                done.add(way[-1])
                on_way.remove(way.pop())
            elif onward in on_way:
                return [*way[way.index(onward) :], onward]
            else:
                way.append(onward)
                ahead.append(iter(nodes[onward].parents))
                on_way.add(onward)
    return []
