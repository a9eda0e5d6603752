"""Builds pinned versions of the back ends through Go's module system, once, into a cache.

Each is built in a scratch module that requires the one version, because ``go install
module@version`` refuses a module with a ``replace`` of its own. What is built for another version
of a recipe has another name, so the cache never serves what the recipe no longer says.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

GO_BINARY = Path("/usr/local/go/bin/go")
_PARALLEL = "2"
_OTELCOL = "v0.159.0"
_CONTRIB = "github.com/open-telemetry/opentelemetry-collector-contrib"
_MANIFEST = f"""\
dist:
  name: otelcol
  output_path: OUTPUT
  version: {_OTELCOL.removeprefix("v")}
receivers:
  - gomod: go.opentelemetry.io/collector/receiver/otlpreceiver {_OTELCOL}
exporters:
  - gomod: {_CONTRIB}/exporter/fileexporter {_OTELCOL}
"""


class CannotInstall(Exception):
    """A back end cannot be had on this machine; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A back end and how it is built."""

    name: str
    version: str
    module: str
    """Required by the scratch module at ``module_version``."""
    module_version: str
    package: str
    """Built from it."""
    tags: str = ""
    """Build tags: Prometheus without the clients of every cloud builds in half the time."""
    manifest: str = ""
    """For the OpenTelemetry Collector's builder, which is the package then."""

    def path(self) -> Path:
        """Return where the binary lies, once it is built."""
        parts = (self.module, self.module_version, self.package, self.tags, self.manifest)
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
        return cache_dir() / f"{self.name}-{self.version}-{key}"


OTELCOL = Recipe(
    name="otelcol",
    version=_OTELCOL.removeprefix("v"),
    module="go.opentelemetry.io/collector/cmd/builder",
    module_version=_OTELCOL,
    package="go.opentelemetry.io/collector/cmd/builder",
    manifest=_MANIFEST,
)
PROMETHEUS = Recipe(
    name="prometheus",
    version="3.11.3",
    module="github.com/prometheus/prometheus",
    module_version="v0.311.3",
    package="github.com/prometheus/prometheus/cmd/prometheus",
    tags="remove_all_sd",
)
VICTORIA_METRICS = Recipe(
    name="victoria-metrics",
    version="1.140.0",
    module="github.com/VictoriaMetrics/VictoriaMetrics",
    module_version="v1.140.0",
    package="github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics",
)
RECIPES = (OTELCOL, PROMETHEUS, VICTORIA_METRICS)


def cache_dir() -> Path:
    """Return the folder of built binaries, outside the tree."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "chipwatt" / "interop"


def find_go() -> str | None:
    """Return the path of Go's tool; None where this machine has none."""
    return shutil.which("go") or (str(GO_BINARY) if GO_BINARY.exists() else None)


def install(recipe: Recipe, *, timeout_s: float, say: Callable[[str], None] = print) -> Path:
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
        raise CannotInstall("not in the cache, and no time to build it")
    say(f"building {recipe.name} {recipe.version}")
    binary.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="chipwatt-interop.") as scratch:
        built = _build(recipe, go, Path(scratch), time.monotonic() + timeout_s)
        # Renamed inside the cache's file system: a half-copied binary is never found.
        staged = binary.with_suffix(f".{os.getpid()}")
        shutil.copy2(built, staged)
        staged.replace(binary)
    return binary


def _build(recipe: Recipe, go: str, scratch: Path, deadline_s: float) -> Path:
    environment = {
        **os.environ,
        "GOFLAGS": "-mod=mod",
        "GOMAXPROCS": _PARALLEL,
        "GOTOOLCHAIN": "local",
        "PATH": f"{Path(go).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    (scratch / "go.mod").write_text(
        f"module scratch\n\ngo 1.25.0\n\nrequire {recipe.module} {recipe.module_version}\n"
    )
    _run([go, "mod", "download", recipe.module], scratch, environment, deadline_s)
    where = [go, "list", "-m", "-f", "{{.Dir}}", recipe.module]
    source = _run(where, scratch, environment, deadline_s)
    with (scratch / "go.mod").open("a") as file:
        file.write(own_directives((Path(source) / "go.mod").read_text()))
    output = scratch / "built"
    build = [go, "build", "-tags", recipe.tags, "-o", str(output), recipe.package]
    _run(build, scratch, environment, deadline_s)
    if not recipe.manifest:
        return output
    folder = scratch / "distribution"
    (scratch / "manifest.yaml").write_text(recipe.manifest.replace("OUTPUT", str(folder)))
    _run([str(output), "--config", "manifest.yaml"], scratch, environment, deadline_s)
    return folder / "otelcol"


def own_directives(go_mod: str) -> str:
    """Return the ``replace`` and ``exclude`` of a module, which count only in the main module.

    A replacement by a folder is left out: the folder is not in the module's archive.
    """
    kept, block = [], ""
    for line in go_mod.splitlines():
        words = line.split()
        if block:
            if words[:1] == [")"]:
                block = ""
            elif words and not words[0].startswith("//"):
                kept.append(f"{block} {line.strip()}")
        elif words[:1] in (["replace"], ["exclude"]):
            if words[1:] == ["("]:
                block = words[0]
            else:
                kept.append(line.strip())
    return "".join(f"{line}\n" for line in kept if "=> ." not in line)


def _run(
    command: list[str], folder: Path, environment: Mapping[str, str], deadline_s: float
) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=max(0.1, deadline_s - time.monotonic()),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotInstall("not built within the time that was given") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "downloading" not in line]
        said = lines[0][:300] if lines else f"exit code {done.returncode}"
        raise CannotInstall(f"{Path(command[0]).name} {command[1]}: {said}")
    return done.stdout.strip()
