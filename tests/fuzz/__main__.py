"""``python -m tests.fuzz --seconds 60``: fuzzes ingest and prints what it showed.

Coverage-guided where atheris is installed, by mutation else. A crash prints
its traceback and the file that holds the input; ``--replay FILE`` runs it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS)]
_GRACE_S = 60


def _guided(seconds: int, seed: int, folder: Path) -> tuple[int, dict[str, Any], str]:
    """Return exit code, figures and coverage of a run under libFuzzer."""
    from fuzz.target import seeds

    corpus, stats = folder / "corpus", folder / "stats.json"
    corpus.mkdir()
    for number, data in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=300000", "-timeout=20"]
    options += ["-rss_limit_mb=2048", f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    command = [sys.executable, "-m", "fuzz.guided", str(stats), *options, str(corpus)]
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=seconds + _GRACE_S,
        check=False,
    )
    lines = re.findall(r"cov: (\d+) ft: (\d+)", done.stderr)
    found = f"{lines[-1][0]} edges, {lines[-1][1]} features" if lines else "none"
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr)
    figures: dict[str, Any] = json.loads(stats.read_text()) if stats.exists() else {}
    executed = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    if executed:
        figures["executions"] = int(executed[1])
    return done.returncode, figures, found


def _mutating(seconds: int, seed: int, folder: Path) -> tuple[int, dict[str, Any], str]:
    from fuzz import mutate
    from fuzz.target import Target, seeds

    target = Target()
    crash = mutate.run(target, seeds(), seconds, seed)
    if crash is not None:
        (folder / "crash-input").write_bytes(crash)
    target.close()
    return int(crash is not None), target.summary(), "not measured without atheris"


def main() -> int:
    """Return 0 where nothing crashed."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, help="as printed by an earlier run")
    parser.add_argument("--engine", choices=("atheris", "mutate"), help="default: the better one")
    parser.add_argument("--replay", type=Path, help="run one input and end")
    args = parser.parse_args()
    if args.replay:
        from fuzz.target import Target

        Target()(args.replay.read_bytes())
        return 0
    has_atheris = importlib.util.find_spec("atheris") is not None
    engine = args.engine or ("atheris" if has_atheris else "mutate")
    seed = secrets.randbits(31) if args.seed is None else args.seed
    folder = Path(tempfile.mkdtemp(prefix="chipwatt-fuzz-"))
    run = _guided if engine == "atheris" else _mutating
    code, figures, coverage = run(args.seconds, seed, folder)
    crashes = [
        path for path in folder.iterdir() if path.name.startswith(("crash", "timeout", "oom"))
    ]
    executions = int(figures.get("executions", 0))
    print(f"fuzz: {engine}, seed {seed}, {args.seconds} s")
    print(f"executions  {executions} ({executions // max(1, args.seconds)} a second)")
    print(f"coverage    {coverage}")
    print(f"accepted    {figures.get('accepted', 0)}, of them {figures.get('stored', 0)} stored")
    for reason, count in sorted(dict(figures.get("rejected", {})).items()):
        print(f"rejected    {count:>8}  {reason}")
    print(f"crashes     {len(crashes)}")
    if code or crashes:
        print(f"FAIL: inputs in {folder}")
        return 1
    shutil.rmtree(folder)
    if not executions:
        print("FAIL: nothing was executed")
        return 1
    print("PASS")
    return 0


if __name__ == "__main__":
    sys.exit(main())
