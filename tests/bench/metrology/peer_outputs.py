"""What other tools print, read into energy: each format is cited where it is read."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Energy of a tool that says itself which stretch of monotonic time it belongs to."""

    uj: float
    begin_ns: int
    end_ns: int


def sample(text: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that bear ``labels``, in Prometheus' text format.

    The format: prometheus/docs, content/docs/instrumenting/exposition_formats.md.
    Raises LookupError where there is no such sample.
    """
    found = []
    for line in text.splitlines():
        match = re.match(rf"{re.escape(name)}(?:\{{(.*)\}})?\s+(\S+)", line)
        if match:
            has = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[1] or ""))
            if labels.items() <= has.items():
                found.append(float(match[2]))
    if not found:
        raise LookupError(f"no sample of {name} with {labels}")
    return sum(found)


def zeusd_uj(body: str) -> float:
    """Return the packages' energy of zeusd's ``GET /cpu/get_cumulative_energy`` in µJ.

    ``{"0": {"cpu_energy_uj": 123456, "dram_energy_uj": null}}``: ml-energy/zeus, zeusd/README.md.
    """
    return float(sum(cpu["cpu_energy_uj"] for cpu in json.loads(body).values()))


def alumet_points(text: str) -> list[tuple[int, float]]:
    """Return (unix ns, J since the point before) of the packages in Alumet's CSV file.

    Columns and ``;``: alumet-dev/alumet, plugins/csv/README.md. A package is the resource
    ``cpu_package`` with the attribute ``domain=package``, which has a column of its own or
    hides in ``__late_attributes``; the machine's total over packages is another resource.
    """
    points: dict[int, float] = {}
    for line in csv.DictReader(io.StringIO(text), delimiter=";"):
        late = line.get("__late_attributes") or ""
        domain = line.get("domain") or dict(re.findall(r"(\w+)=(\w+)", late)).get("domain")
        if not (line["metric"] or "").startswith("rapl_consumed_energy"):
            continue
        if domain == "package" and line["resource_kind"] == "cpu_package":
            moment = _unix_ns(line["timestamp"])
            points[moment] = points.get(moment, 0.0) + float(line["value"])
    return sorted(points.items())


def alumet_stretch(
    points: Sequence[tuple[int, float]], begin_unix_ns: int, end_unix_ns: int
) -> Stretch:
    """Return the energy between the first and the last point that lie inside, in Unix time.

    Raises LookupError where fewer than two do.
    """
    inside = [point for point in points if begin_unix_ns <= point[0] <= end_unix_ns]
    if len(inside) < 2:
        raise LookupError("fewer than two points of Alumet lie in the stretch")
    return Stretch(1e6 * sum(joules for _, joules in inside[1:]), inside[0][0], inside[-1][0])


def _unix_ns(utc: str) -> int:
    """Return RFC 3339 in UTC, with nanoseconds that ``datetime`` cannot hold, as Unix time."""
    whole, _, fraction = utc.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * NS_PER_S + int(fraction[:9].ljust(9, "0"))
