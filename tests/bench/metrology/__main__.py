"""Run the cases, print the table, exit 1 where a bound is broken."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS)]

from bench.metrology import peers, readme  # noqa: E402
from bench.metrology.faults import FAULTS, NONE, Fault  # noqa: E402
from bench.metrology.judge import Judgement, judge  # noqa: E402
from bench.metrology.loads import loads  # noqa: E402
from bench.metrology.rigs import MS, RIGS, Rig  # noqa: E402
from bench.metrology.sensing import sense, settings  # noqa: E402

NS_PER_S = 1_000_000_000
UNTIL_NS = 11 * NS_PER_S
FAULT_UNTIL_NS = 13 * NS_PER_S
PEAK_BOUND = 0.02
SENSING = "chipwatt.agent.sensing_process"


@dataclass(frozen=True, slots=True)
class Case:
    """One row."""

    rig: str
    load: str
    fault: str
    rate_hz: int


def cases(names: Sequence[str]) -> list[Case]:
    """Return every rig with every load, and every fault under the training load."""
    rows = []
    for rig_name, rig in RIGS.items():
        if names and not any(name in rig_name for name in names):
            continue
        rate_hz = 1000 if rig.refresh_ns <= MS else 100
        rows += [Case(rig_name, load, "", rate_hz) for load in loads()]
        rows += [Case(rig_name, "training 0.8 Hz", fault, rate_hz) for fault in rig.faults]
    return rows


async def run(case: Case, gate: asyncio.Semaphore) -> Judgement | Exception:
    """Play and judge one case."""
    rig, fault = RIGS[case.rig], FAULTS.get(case.fault, NONE)
    async with gate:
        load = loads()[case.load]
        with tempfile.TemporaryDirectory(dir=_memory_folder()) as folder:
            bench = rig.prepare(Path(folder), load, fault.settings)
            try:
                until_ns = FAULT_UNTIL_NS if case.fault else UNTIL_NS
                collected = await sense(bench, rig.source, until_ns, settings(case.rate_hz))
                return judge(rig, load, bench.start_mono_ns, collected, bench.domain)
            except Exception as error:  # noqa: BLE001 - a case that dies is a row that fails
                return error
            finally:
                bench.stop()


def complaints(case: Case, rig: Rig, fault: Fault, seen: Judgement) -> list[str]:
    """Return the bounds that this row breaks."""
    wrong = []
    if not rig.gauge and seen.energy_error_uj:
        wrong.append("energy")
    if rig.gauge and case.load == "steady" and abs(seen.energy_error_ppm) > 2500:
        wrong.append("energy")
    if not seen.gaps_hold:
        wrong.append("gap bounds")
    if fault.gap and not rig.gauge and not seen.gaps:
        wrong.append("no gap")
    if seen.epochs < fault.epochs:
        wrong.append("no new epoch")
    if fault.flag and not rig.gauge and fault.flag.lower() not in seen.flags:
        wrong.append(f"not {fault.flag.lower()}")
    if case.load.startswith("square") and not case.fault:
        beyond = "peak_beyond_sensor" in seen.flags
        level = seen.level_error
        exact = level is not None and abs(level) <= PEAK_BOUND
        if not exact and not beyond:
            wrong.append("peak")
        if rig.refresh_ns <= MS and not rig.gauge and case.load != "square 50 ms" and not exact:
            wrong.append("peak")
    return wrong


def row(case: Case, result: Judgement | Exception) -> tuple[list[str], bool]:
    """Return a row's cells and whether it holds."""
    head = [case.rig, f"{case.rate_hz}", case.load, case.fault or "-"]
    if isinstance(result, Exception):
        return [*head, *["?"] * 6, f"{type(result).__name__}: {result}", "BROKEN"], False
    fault = FAULTS.get(case.fault, NONE)
    wrong = complaints(case, RIGS[case.rig], fault, result)
    gauge = RIGS[case.rig].gauge
    fair = "cannot tell" if gauge and not fault.known else "ok"
    cells = [
        *head,
        "-" if gauge else f"{result.energy_error_uj}",
        f"{result.energy_error_ppm:+.0f}",
        _percent(result.level_error),
        _percent(result.peak_error),
        f"{100 * result.coverage:.1f}",
        f"{result.gaps}" + ("" if result.gaps_hold else " broken"),
        result.flags or "-",
        ", ".join(wrong) or fair,
    ]
    return cells, not wrong


HEADER = [
    "source", "Hz", "load", "fault", "energy beyond sensor µJ", "energy ppm", "highest level %",
    "peak 100 ms %", "coverage %", "gaps", "flags", "verdict",
]  # fmt: skip


def _percent(value: float | None) -> str:
    return "absent" if value is None else f"{100 * value:+.2f}"


def _memory_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.metrology", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="rigs whose name contains this")
    parser.add_argument(
        "--load", action="append", default=[], help="loads whose name contains this"
    )
    parser.add_argument("--fault", action="append", default=[], help="faults by name")
    parser.add_argument("--jobs", type=int, default=3, help="cases at once (3)")
    parser.add_argument("--peers", action="store_true", help="other tools on the same tree, too")
    parser.add_argument(
        "--peers-python",
        default=sys.executable,
        metavar="PATH",
        help="interpreter with the peers' packages (this one)",
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument(
        "--readme", action="store_true", help="put what was run into README.md: only whole tables"
    )
    return parser.parse_args(arguments)


async def main() -> int:
    """Run what was asked for; return the exit code."""
    asked = options()
    whole = not (asked.only or asked.load or asked.fault)
    rows = [
        case
        for case in cases(asked.only)
        if (not asked.load or any(part in case.load for part in asked.load))
        and (not asked.fault or case.fault in asked.fault)
    ]
    if not rows and not asked.peers:
        print("metrology BROKEN: no row has such a source, load and fault")
        return 1
    started = time.monotonic()
    results = await _run_all(rows, asked.jobs)
    minutes = (time.monotonic() - started) / 60
    table = [row(case, result) for case, result in zip(rows, results, strict=True)]
    held = sum(holds for _, holds in table)
    said = (
        f"{held} of {len(table)} rows hold their bounds; "
        f"{minutes:.0f} min with {asked.jobs} at once on {os.cpu_count()} cores."
    )
    cells = [cells for cells, _ in table]
    parts = {"metrology": f"{said}\n\n{readme.markdown(HEADER, cells)}"}
    if rows:
        _print(HEADER, cells, markdown=asked.markdown)
    if asked.peers:
        theirs = await peers.compare(asked.peers_python)
        parts["peers"] = readme.markdown(peers.HEADER, theirs)
        print("\n### Other tools on the same tree\n")
        _print(peers.HEADER, theirs, markdown=asked.markdown)
    if asked.readme:
        readme.write({name: part for name, part in parts.items() if whole or name == "peers"})
    print(f"metrology {'ok' if held == len(table) else 'BROKEN'}: {said}")
    return 0 if held == len(table) else 1


async def _run_all(rows: Sequence[Case], jobs: int) -> list[Judgement | Exception]:
    # From the disk now, not while the first rows are measured.
    warming = await asyncio.create_subprocess_exec(sys.executable, "-c", f"import {SENSING}")
    await warming.wait()
    gate = asyncio.Semaphore(jobs)
    done = 0

    async def counted(case: Case) -> Judgement | Exception:
        nonlocal done
        result = await run(case, gate)
        done += 1
        print(f"\r{done}/{len(rows)} cases", end="", file=sys.stderr, flush=True)
        return result

    results = await asyncio.gather(*(counted(case) for case in rows))
    print(file=sys.stderr)
    return results


def _print(header: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool) -> None:
    if markdown:
        print(readme.markdown(header, rows))
        return
    widths = [max(len(r[i]) for r in (header, *rows)) for i in range(len(header))]
    for cells in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
