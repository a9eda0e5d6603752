"""Quantities as people read them; programs get the integers instead."""

from __future__ import annotations

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
NOT_KNOWN = "-"


def power_text(power_mw: int | None) -> str:
    """Return ``12.3 W``; four significant digits at most, ``-`` where nothing is known."""
    if power_mw is None:
        return NOT_KNOWN
    return _scaled(power_mw, ((10**9, "MW"), (10**6, "kW"), (10**3, "W"), (1, "mW")))


def energy_text(energy_uj: int | None) -> str:
    """Return ``1.23 kJ``."""
    if energy_uj is None:
        return NOT_KNOWN
    units = ((10**15, "GJ"), (10**12, "MJ"), (10**9, "kJ"), (10**6, "J"), (10**3, "mJ"), (1, "µJ"))
    return _scaled(energy_uj, units)


def ramp_text(ramp_mw_per_s: int | None) -> str:
    """Return ``350 W/s``."""
    return NOT_KNOWN if ramp_mw_per_s is None else f"{power_text(ramp_mw_per_s)}/s"


def duration_text(duration_ns: int | None) -> str:
    """Return ``1.5 ms``; ``-`` for nothing known or zero, which stands for the same."""
    if not duration_ns:
        return NOT_KNOWN
    if duration_ns >= 120 * 10**9:
        minutes, seconds = divmod(round(duration_ns / 10**9), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
    return _scaled(duration_ns, ((10**9, "s"), (10**6, "ms"), (10**3, "µs"), (1, "ns")))


def share_text(share_ppm: int | None) -> str:
    """Return ``12.3 %``."""
    return NOT_KNOWN if share_ppm is None else f"{share_ppm / 10_000:.1f} %"


def size_text(size_bytes: int) -> str:
    """Return ``12.3 MiB``."""
    return _scaled(size_bytes, ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")))


def sparkline(values: Sequence[int | None], width: int = 30) -> str:
    """Draw the newest ``width`` values between their least and greatest; a hole stays blank."""
    shown = list(values)[-width:]
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    top = len(_BARS) - 1
    return "".join(
        " " if value is None else _BARS[(value - low) * top // span if span else top // 2]
        for value in shown
    )


def _scaled(value: int, units: Sequence[tuple[int, str]]) -> str:
    size = abs(value)
    for unit, name in units:
        if size >= unit * 0.9995:  # 999.95 W reads 1.00 kW
            number = value / unit
            if unit == 1:
                return f"{value} {name}"
            digits = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0
            return f"{number:.{digits}f} {name}"
    return f"0 {units[-2][1]}" if len(units) > 1 else f"0 {units[-1][1]}"
