"""What ``chipwatt up`` has seen so far, and how a terminal shows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from chipwatt.cli.quantities import duration_text, energy_text, power_text, sparkline
from chipwatt.cli.silence import no_data, silent_ns
from chipwatt.cli.tables import Table, fitted
from chipwatt.cli.tally import Line, Tally, line_of
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import Flag, flag_names
from chipwatt.core.records import DeviceWindow, HostSecond

ESTIMATED = (
    "ESTIMATED: no power sensor was found for some or all of this; those figures come from CPU "
    "time and a power model, not from silicon."
)
_KINDS = ("cpu", "gpu", "memory", "other")
_SLOW = Flag.PEAK_BEYOND_SENSOR | Flag.SWING_BEYOND_SENSOR
_QUIET = Flag.ROOT | Flag.ESTIMATED | Flag.INTEGRATED | Flag.EPOCH_START | _SLOW
_NAME_WIDTH = 16
"""A PCI address, or the first third of a UUID."""
_SECONDS_KEPT = 120


class Seen:
    """Everything that arrived since the start, each window and second taken once."""

    def __init__(self) -> None:
        self.tallies: dict[Line, Tally] = {}
        self.seconds: deque[HostSecond] = deque(maxlen=_SECONDS_KEPT)
        self.host_seconds = 0
        self.flags = 0
        self.now_unix_ns = 0
        """When somebody last looked, by the wall clock; 0 leaves only data to compare with."""

    def take(self, windows: Iterable[DeviceWindow], seconds: Iterable[HostSecond]) -> None:
        """Take in what a query returned; what was seen before is left out."""
        for window in sorted(windows, key=lambda each: each.start_mono_ns):
            key = line_of(window)
            tally = self.tallies.setdefault(key, Tally(*key))
            if tally.latest is None or window.start_mono_ns > tally.latest.start_mono_ns:
                tally.add(window)
                self.flags |= window.flags
        for second in sorted(seconds, key=lambda each: each.start_mono_ns):
            if not self.seconds or second.start_mono_ns > self.seconds[-1].start_mono_ns:
                self.seconds.append(second)
                self.host_seconds += 1
                self.flags |= second.flags

    @property
    def windows_since_unix_ns(self) -> int:
        """Where the next query for windows must begin to miss none; 0 at first.

        One window before the device that is furthest behind, since windows of
        devices that start later, or report late, begin there.
        """
        newest = [tally.latest for tally in self.tallies.values() if tally.latest]
        return min((each.start_unix_ns - 2 * each.duration_ns for each in newest), default=0)

    @property
    def seconds_since_unix_ns(self) -> int:
        """Where the next query for host seconds must begin; 0 at first."""
        return self.seconds[-1].start_unix_ns if self.seconds else 0

    @property
    def newest_unix_ns(self) -> int:
        """Where the newest data of any sensor ends."""
        ends = [tally.end_unix_ns for tally in self.tallies.values()]
        ends += [each.start_unix_ns + each.duration_ns for each in (*self.seconds,)[-1:]]
        return max(ends, default=0)

    def silence_ns(self, tally: Tally | None = None) -> int:
        """Return for how long a sensor, or the host as a whole, gave nothing; 0 while it does."""
        if tally is None:  # a sum of all: only the clock can tell
            return silent_ns(self.seconds[-1], 0, self.now_unix_ns) if self.seconds else 0
        if tally.latest is None:
            return 0
        return silent_ns(tally.latest, self.newest_unix_ns, self.now_unix_ns)

    def problems(self) -> list[str]:
        """Return a phrase for each sensor that has fallen silent."""
        found = [f"the host's sum: {no_data(self.silence_ns())}"] if self.silence_ns() else []
        for tally in sorted(self.tallies.values(), key=lambda each: each.sort_key):
            silence_ns = self.silence_ns(tally)
            if silence_ns:
                found.append(f"{tally.device} {tally.name}: {no_data(silence_ns)}")
        return found

    @property
    def energy_uj(self) -> int:
        """Energy of the sensors that are added up, in the device windows seen."""
        return sum(tally.energy_uj for tally in self.tallies.values() if tally.root)

    @property
    def estimated(self) -> bool:
        return bool(self.flags & Flag.ESTIMATED)


def host_table(seen: Seen) -> Table:
    """Return the host's newest second by kind of device."""
    table = Table(["host", ">now", ">mean", ">peak 100 ms", ">energy", "last two minutes"])
    silence_ns = seen.silence_ns()
    if silence_ns:
        table.faint = set(range(len(_KINDS) + 1))
    for kind in (*_KINDS, "total"):
        energies_mj = [_energy_mj(second, kind) for second in seen.seconds]
        if kind != "total" and not any(energies_mj):
            continue
        powers_mw = [
            energy * 10**9 // max(1, second.duration_ns)
            for energy, second in zip(energies_mj, seen.seconds, strict=True)
        ]
        peaks = [getattr(second, f"{kind}_peak_mw") for second in seen.seconds]
        table.rows.append(
            (
                kind,
                no_data(silence_ns)
                if silence_ns
                else power_text(powers_mw[-1] if powers_mw else None),
                power_text(round(sum(powers_mw) / len(powers_mw)) if powers_mw else None),
                power_text(max((peak for peak in peaks if peak is not None), default=None)),
                energy_text(sum(energies_mj) * 1000),
                sparkline(powers_mw, 40),
            )
        )
    return table


def device_table(seen: Seen, width: int) -> Table:
    """Return one row a sensor, since the start; what is not added up is indented.

    A sensor that has fallen silent has no power now, and its row is grey. What a
    narrow terminal has no room for is left out, the least telling first.
    """
    table = Table(
        ["device", ">now", ">mean", ">min", ">max", ">peak 100 ms", ">energy", "power", "sensor",
         "remarks"]
    )  # fmt: skip
    for tally in sorted(seen.tallies.values(), key=lambda each: each.sort_key):
        silence_ns = seen.silence_ns(tally)
        if silence_ns:
            table.faint.add(len(table.rows))
        newest = tally.latest.profile if tally.latest and not silence_ns else None
        source = tally.provenance
        name = f"{short_name(tally.device)} {tally.name}"
        table.rows.append(
            (
                name if tally.root else f"  {name}",
                power_text(newest.mean_mw if newest else None),
                power_text(tally.mean_mw),
                power_text(tally.min_mw),
                power_text(tally.greatest["max_mw"]),
                power_text(tally.greatest["peak_100ms_mw"]),
                energy_text(tally.energy_uj),
                sparkline([each.profile.mean_mw for each in tally.recent], 20),
                source.interface.name.lower() if source else "",
                remarks(tally, silence_ns),
            )
        )
    return fitted(table, width, ("sensor", "min", "power", "peak 100 ms", "mean"))


def short_name(device: DeviceId) -> str:
    """Return the device's name, of a UUID only so much that people tell devices apart."""
    name = str(device)
    return name if len(name) <= _NAME_WIDTH else name[:_NAME_WIDTH] + "…"


def remarks(tally: Tally, silence_ns: int = 0) -> str:
    """Return what a reader must know: silence and ESTIMATED first, the rest small."""
    words = [no_data(silence_ns)] if silence_ns else []
    words += ["ESTIMATED"] if tally.estimated else []
    if tally.flags & _SLOW:
        words.append("slow sensor")
    words += [name.lower().replace("_", " ") for name in flag_names(tally.flags & ~_QUIET)]
    if len(tally.epochs) > 1:
        words.append(f"{len(tally.epochs)} counter epochs")
    return ", ".join(words)


def plain_line(seen: Seen, elapsed_ns: int) -> str:
    """Return one line for a log or a terminal without rich."""
    if not seen.seconds:
        return "waiting for the first second of data ..."
    if seen.silence_ns():
        return f"{duration_text(elapsed_ns):>8}  {no_data(seen.silence_ns())} from any sensor"
    newest = seen.seconds[-1]
    total_mw = _energy_mj(newest, "total") * 10**9 // max(1, newest.duration_ns)
    kinds = (f"{kind} {_energy_mj(newest, kind) / 1000:.2f} J" for kind in _KINDS)
    mark = "  ESTIMATED" if seen.estimated else ""
    mark += "".join(f"  {problem}" for problem in seen.problems())
    return (
        f"{duration_text(elapsed_ns):>8}  {power_text(total_mw):>8}  "
        f"{', '.join(kinds)}  since start {energy_text(seen.energy_uj)}{mark}"
    )


def _energy_mj(second: HostSecond, kind: str) -> int:
    if kind == "total":
        return sum(_energy_mj(second, each) for each in _KINDS)
    energy_mj: int = getattr(second, f"{kind}_mj")
    return energy_mj
