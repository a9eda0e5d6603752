"""Builds pinned versions of the back ends through Go's module system, once, into a cache.

``python -m tests.interop.install [--limit SECONDS]`` builds what is missing, the cheapest first,
and gives way to everything else that runs. It needs nothing but Go and Python.

A module is built where Go's module cache has it, as its own main module: its ``replace`` and
``go.sum`` count there, and ``go install module@version`` would refuse it. Binaries run for
seconds, so that optimising them would cost more than it gives. What is built by another
recipe has another name: the cache never serves what the recipe no longer says.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 1800.0
GO_BINARY = Path("/usr/local/go/bin/go")
_OPTIONS = ("-p", "2", "-gcflags=all=-N -l", "-ldflags=-s -w")
_SETTINGS = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "-buildvcs=false",
    "GOMAXPROCS": "2",
    "GOWORK": "off",
}


class CannotInstall(Exception):
    """A back end cannot be had on this machine; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A back end and how it is built."""

    name: str
    version: str
    package: str
    """Built from the main module."""
    module: str = ""
    """The main module, ``path@version``."""
    folder: Path | None = None
    """Instead of it: the main module's source in this tree."""
    tags: str = ""
    """Build tags."""

    def path(self) -> Path:
        """Return where the binary lies, once it is built."""
        parts = [self.module, self.package, self.tags, *_OPTIONS]
        if self.folder is not None:
            parts += [file.read_text() for file in sorted(self.folder.iterdir())]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
        return cache_dir() / f"{self.name}-{self.version}-{key}"


VICTORIA_METRICS = Recipe(
    name="victoria-metrics",
    version="1.140.0",
    module="github.com/VictoriaMetrics/VictoriaMetrics@v1.140.0",
    package="./app/victoria-metrics",
)
OTELCOL = Recipe(
    name="otelcol",
    version="0.159.0",
    folder=Path(__file__).parent / "otelcol_main",
    package=".",
)
PROMETHEUS = Recipe(
    name="prometheus",
    version="3.11.3",
    module="github.com/prometheus/prometheus@v0.311.3",
    package="./cmd/prometheus",
    # The clients of every cloud are half of it otherwise.
    tags="remove_all_sd",
)
RECIPES = (VICTORIA_METRICS, OTELCOL, PROMETHEUS)
"""The cheapest first."""


def cache_dir() -> Path:
    """Return the folder of built binaries, outside the tree."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "chipwatt" / "interop"


def find_go() -> str | None:
    """Return the path of Go's tool; None where this machine has none."""
    return shutil.which("go") or (str(GO_BINARY) if GO_BINARY.exists() else None)


def install(recipe: Recipe, *, timeout_s: float) -> Path:
    """Return the binary, built now where it is not in the cache.

    Raises CannotInstall where there is no Go, a module cannot be had, or it takes longer than
    ``timeout_s``; Go's own cache keeps what was compiled until then.
    """
    binary = recipe.path()
    if binary.exists():
        return binary
    go = find_go()
    if go is None:
        raise CannotInstall("Go is not installed")
    if timeout_s <= 0:
        raise CannotInstall("not built, and no time to build it")
    binary.parent.mkdir(parents=True, exist_ok=True)
    # Inside the cache's file system, where a rename is at once: nobody finds half a binary.
    with tempfile.TemporaryDirectory(prefix=".building.", dir=binary.parent) as scratch:
        built = _build(recipe, go, Path(scratch), timeout_s)
        built.replace(binary)
    return binary


def _build(recipe: Recipe, go: str, scratch: Path, timeout_s: float) -> Path:
    run = _Run(Path(go), scratch, timeout_s)
    if recipe.folder is None:
        answer = json.loads(run(["mod", "download", "-json", recipe.module]))
        source, mode = Path(answer["Dir"]), "readonly"
    else:
        source, mode = scratch / "source", "mod"
        shutil.copytree(recipe.folder, source)
    output = scratch / "binary"
    options = [f"-mod={mode}", "-tags", recipe.tags, "-o", str(output)]
    run(["build", *_OPTIONS, *options, recipe.package], source)
    return output


class _Run:
    """Runs Go's tool, all of it within one time."""

    def __init__(self, go: Path, folder: Path, timeout_s: float) -> None:
        self._go = go
        self._folder = folder
        self._timeout_s = timeout_s
        self._deadline_s = time.monotonic() + timeout_s
        path = f"{go.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        self._environment: Mapping[str, str] = {**os.environ, **_SETTINGS, "PATH": path}

    def __call__(self, arguments: Sequence[str], folder: Path | None = None) -> str:
        """Return what it prints; raises CannotInstall."""
        process = subprocess.Popen(
            [str(self._go), *arguments],
            cwd=folder or self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            left_s = max(0.0, self._deadline_s - time.monotonic())
            output, errors = process.communicate(timeout=left_s)
        except subprocess.TimeoutExpired:
            raise CannotInstall(f"not built within {self._timeout_s:.0f} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the compilers, too
                process.communicate()
        if process.returncode:
            lines = [line for line in errors.splitlines() if "downloading" not in line]
            said = lines[0][:300] if lines else f"exit code {process.returncode}"
            raise CannotInstall(f"go {arguments[0]}: {said}")
        return output


def main(argv: Sequence[str] | None = None) -> int:
    """Build what is missing, and say of each what became of it; returns 0 whatever did."""
    parser = argparse.ArgumentParser(description="Build the back ends of the tests.")
    parser.add_argument(
        "--limit", type=float, default=LIMIT_S, metavar="SECONDS", help="for all of them together"
    )
    deadline_s = time.monotonic() + parser.parse_args(argv).limit
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    for recipe in RECIPES:
        begin_s = time.monotonic()
        was_there = recipe.path().exists()
        try:
            install(recipe, timeout_s=deadline_s - begin_s)
        except CannotInstall as reason:
            said = f"cannot be installed: {reason}"
        else:
            took_s = time.monotonic() - begin_s
            said = "is installed" if was_there else f"built in {took_s:.0f} s"
        print(f"{recipe.name} {recipe.version}: {said}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
