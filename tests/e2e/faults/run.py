"""Runs rows of the matrix, replayable by seed, and prints the table."""

from __future__ import annotations

import argparse
import json
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from e2e.faults import every
from e2e.faults.rows import Case, Counts, Row, Skip


@dataclass
class Result:
    row: Row
    verdict: str
    """``pass``, ``FAIL`` or ``skip``."""
    seconds: float = 0.0
    counts: Counts = field(default_factory=lambda: Counts(0))
    why: str = ""


def run_row(row: Row, seed: int, *, full: bool) -> Result:
    """Run one test with what chance ``seed`` gives it; its files are kept where it fails."""
    why = row.missing()
    if why or (row.only_full and not full):
        return Result(row, "skip", why=why or "with --full only")
    folder = Path(tempfile.mkdtemp(prefix=f"faults-{row.number}-"))
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"  row {row.number} {row.name}: {text}", file=sys.stderr, flush=True)

    chance = random.Random(f"{seed}/{row.name}")
    try:
        counts = row.test(Case(folder, chance, full, say if full else lambda _: None))
    except Skip as skip:
        result = Result(row, "skip", why=str(skip))
    except Exception as error:  # noqa: BLE001 - one row that fails must not hide the others
        kept = f"{type(error).__name__}: {error} (files kept in {folder})"
        return Result(row, "FAIL", time.monotonic() - began_s, why=kept)
    else:
        result = Result(row, "pass", time.monotonic() - began_s, counts, counts.note)
    shutil.rmtree(folder, ignore_errors=True)
    return result


_HEAD = ("row", "fault", "runs", "written", "acked", "stored", "dup.", "gaps", "s", "verdict")


def table(results: Sequence[Result]) -> str:
    """Return the matrix as text."""
    lines: list[tuple[str, ...]] = [_HEAD]
    for result in results:
        c = result.counts
        numbers = (c.runs, c.written, c.acked, c.stored, c.duplicates, c.gaps)
        shown = ["" if result.verdict == "skip" else str(number) for number in numbers]
        words = result.verdict + (f": {result.why}" if result.why else "")
        row = result.row
        lines.append((str(row.number), row.fault, *shown, f"{result.seconds:.0f}", words))
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD) - 1)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 1 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=False))
        )
        + f"  {line[-1]}"
        for line in lines
    )


def verdict(results: Sequence[Result]) -> str:
    """Return the last line."""
    failed = [result for result in results if result.verdict == "FAIL"]
    passed = [result for result in results if result.verdict == "pass"]
    rows = {result.row.number for result in passed} - {result.row.number for result in failed}
    faults = sum(result.counts.runs for result in passed)
    skipped = len(results) - len(failed) - len(passed)
    return (
        f"{'FAIL' if failed else 'PASS'}: {len(passed)} tests of {len(rows)} rows passed with "
        f"{faults} faults, {len(failed)} failed, {skipped} skipped"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 0 where nothing failed."""
    parser = argparse.ArgumentParser("python -m tests.e2e.faults", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every test at its full length")
    parser.add_argument("--row", type=int, action="append", help="this row only; may be repeated")
    parser.add_argument("--test", action="append", help="this test only, by name")
    parser.add_argument("--seed", type=int, help="as printed by an earlier run")
    parser.add_argument("--jobs", type=int, default=2, help="tests at a time (2)")
    parser.add_argument("--json", action="store_true", help="one object a test")
    args = parser.parse_args(arguments)
    seed = secrets.randbits(32) if args.seed is None else args.seed
    rows = [
        row
        for row in every.rows()
        if (not args.row or row.number in args.row) and (not args.test or row.name in args.test)
    ]
    if not rows:
        parser.error("no such row or test")
    if not args.json:
        print(f"seed {seed}{' --full' if args.full else ''}", flush=True)

    def one(row: Row) -> Result:
        result = run_row(row, seed, full=args.full)
        print(
            f"row {row.number} {row.fault}: {result.verdict} {result.why}",
            file=sys.stderr,
            flush=True,
        )
        return result

    with ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(one, rows))
    if args.json:
        for result in results:
            fields = {"row": result.row.number, "test": result.row.name, "seed": seed}
            fields |= {"fault": result.row.fault, "verdict": result.verdict, "why": result.why}
            print(json.dumps({**fields, "seconds": result.seconds, **asdict(result.counts)}))
    else:
        print(table(results))
    print(verdict(results), file=sys.stderr if args.json else sys.stdout)
    return any(result.verdict == "FAIL" for result in results)
