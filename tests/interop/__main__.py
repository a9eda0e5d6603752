"""Build the back ends, push to each, query it back; exit 1 where one of them is broken.

``python -m tests.interop [--only NAME] [--build-limit SECONDS]``
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS)]

from interop.backend import Backend  # noqa: E402
from interop.dashboards import broken_queries  # noqa: E402
from interop.history import MINUTES, History, write  # noqa: E402
from interop.install import (  # noqa: E402
    LIMIT_S,
    OTELCOL,
    PROMETHEUS,
    VICTORIA_METRICS,
    CannotInstall,
    Recipe,
    install,
)
from interop.judge import Finding, amounts, judge  # noqa: E402
from interop.otelcol import otelcol  # noqa: E402
from interop.outage import outage  # noqa: E402
from interop.prometheus import prometheus  # noqa: E402
from interop.push import push  # noqa: E402
from interop.restart import push_and_die  # noqa: E402
from interop.victoria_metrics import victoria_metrics  # noqa: E402

MINUTE_NS = 60_000_000_000
Start = Callable[[Path, Path], AbstractContextManager[Backend]]
BACKENDS: tuple[tuple[Recipe, Start], ...] = (
    (OTELCOL, otelcol),
    (PROMETHEUS, prometheus),
    (VICTORIA_METRICS, victoria_metrics),
)


def run_one(start: Start, binary: Path, store: Path, history: History, folder: Path) -> bool:
    """Push to one back end, print what it gives back, return whether all of it is right."""
    folder.mkdir()
    shutil.copytree(store, folder / "store")
    with start(binary, folder) as backend:
        begin_s = time.perf_counter()
        pushed = push(folder / "store", backend, history.end_unix_ns)
        took_s = time.perf_counter() - begin_s
        print(
            f"{backend.name} {backend.version}, {backend.protocol}: "
            f"{pushed.sent} points sent in {took_s:.2f} s, {pushed.retries} retries"
        )
        findings = list(judge(backend, history, pushed))
        broken = broken_queries(backend, history.end_unix_ns)
        findings.append(Finding("dashboards, broken queries", "0", str(len(broken)), not broken))
    for line in broken:
        print(f"    {line}")
    for finding in findings:
        print(finding)
    return all(finding.is_right for finding in findings)


def run_deaths(start: Start, binary: Path, store: Path, history: History, folder: Path) -> bool:
    """Let exporters die between an answer and their cursor; print and return whether it showed."""
    folder.mkdir()
    shutil.copytree(store, folder / "store")
    with start(binary, folder) as backend:
        died = push_and_die(folder / "store", backend, history.start_unix_ns, history.end_unix_ns)
        print(f"{backend.name}, minute by minute, {died} exporters killed before the cursor moved:")
        findings = [Finding("killed", "> 0", str(died), died > 0), *amounts(backend, history)]
    for finding in findings:
        print(finding)
    return all(finding.is_right for finding in findings)


def run_outage(binary: Path, folder: Path) -> bool:
    """Take the back end away for half an hour; print and return whether nothing was lost."""
    folder.mkdir()
    print("outage of 30 min, its data in seconds:")
    findings = list(outage(binary, folder))
    for finding in findings:
        print(finding)
    return all(finding.is_right for finding in findings)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all that can be installed; returns the exit code."""
    parser = argparse.ArgumentParser(description="Push to real back ends and query them back.")
    parser.add_argument("--only", action="append", metavar="NAME", help="a back end's name")
    parser.add_argument(
        "--build-limit",
        type=float,
        default=LIMIT_S,
        metavar="SECONDS",
        help="for building all of them together; 0: cached ones only",
    )
    args = parser.parse_args(argv)
    verdicts: dict[str, str] = {}
    left_s = args.build_limit
    with tempfile.TemporaryDirectory(prefix="chipwatt-interop.") as scratch:
        folder = Path(scratch)
        start_unix_ns = (time.time_ns() // MINUTE_NS - MINUTES - 2) * MINUTE_NS
        history = write(folder / "store", start_unix_ns)
        print(f"history: {MINUTES} min of 2 hosts, {history.stored_uj} uJ in root domains")
        for recipe, start in BACKENDS:
            if args.only and recipe.name not in args.only:
                continue
            begin_s = time.monotonic()
            try:
                binary = install(recipe, timeout_s=left_s)
                left_s = max(0.0, left_s - (time.monotonic() - begin_s))
            except CannotInstall as reason:
                print(f"{recipe.name} {recipe.version}: skipped, {reason}")
                verdicts[recipe.name] = "skipped"
                continue
            is_right = run_one(start, binary, folder / "store", history, folder / recipe.name)
            deaths = folder / f"{recipe.name}-deaths"
            is_right &= run_deaths(start, binary, folder / "store", history, deaths)
            verdicts[recipe.name] = "ok" if is_right else "BROKEN"
            if recipe is OTELCOL:
                verdicts["outage"] = "ok" if run_outage(binary, folder / "outage") else "BROKEN"
    print("verdict: " + ", ".join(f"{name} {verdict}" for name, verdict in verdicts.items()))
    return int("BROKEN" in verdicts.values())


if __name__ == "__main__":
    sys.exit(main())
