"""Sentences of placement answers: power with a unit, and why a candidate fits or does not."""

from __future__ import annotations

import math

from chipwatt.collector.placement.topology import PowerNode

_UNITS = ((1e9, "MW"), (1e6, "kW"), (1e3, "W"), (1.0, "mW"))


def power_text(power_mw: float) -> str:
    """Return a power for people, as ``41.2 kW``."""
    for size, unit in _UNITS:
        if abs(power_mw) >= size:
            return f"{power_mw / size:.4g} {unit}"
    return f"{power_mw:.0f} mW"


def quantile_text(quantile: float) -> str:
    """Return a quantile for people, as ``q99`` or ``q99.9``."""
    return f"q{quantile * 100:.4g}"


def over_budget(
    node: PowerNode, quantile: float, peak_mw: float, reserved_mw: float, allowed_mw: float
) -> str:
    """Say that a node's peak, after placing, is above what may be used."""
    total_mw = peak_mw + reserved_mw
    peak, allowed = power_text(total_mw), power_text(allowed_mw)
    if peak == allowed:
        peak, allowed = f"{math.ceil(total_mw)} mW", f"{math.floor(allowed_mw)} mW"
    reserved = f" with {power_text(reserved_mw)} reserved" if reserved_mw >= 1.0 else ""
    budget = f"budget {allowed}"
    if node.safety_margin_ppm:
        less = f"{node.safety_margin_ppm / 10_000:g} %"
        budget = f"{allowed} (budget {power_text(node.budget_mw)} less {less})"
    return f"{called(node)} {quantile_text(quantile)} peak {peak}{reserved} > {budget}"


def fits(node: PowerNode, after_mw: float) -> str:
    """Say what is left at the tightest node."""
    return f"fits; leaves {power_text(after_mw)} at {called(node)}"


def called(node: PowerNode) -> str:
    """Return kind and id of a node, as ``rack r7``."""
    return f"{node.kind.name.lower()} {node.id}"
