from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from interop import install
from interop.install import OTELCOL, PROMETHEUS, RECIPES, CannotInstall, Recipe


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_a_recipe_that_changes_has_another_binary(cache: Path) -> None:
    paths = {one.path() for one in (*RECIPES, replace(PROMETHEUS, tags="other"))}
    assert len(paths) == len(RECIPES) + 1
    assert all(path.is_relative_to(cache) for path in paths)


def test_what_is_cached_is_not_built_again() -> None:
    binary = PROMETHEUS.path()
    binary.parent.mkdir(parents=True)
    binary.write_text("built")
    assert install.install(PROMETHEUS, timeout_s=0) == binary


def test_without_time_or_go_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "find_go", lambda: "/usr/bin/go")
    with pytest.raises(CannotInstall, match="no time to build it"):
        install.install(PROMETHEUS, timeout_s=0)
    monkeypatch.setattr(install, "find_go", lambda: None)
    with pytest.raises(CannotInstall, match="Go is not installed"):
        install.install(PROMETHEUS, timeout_s=10)


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Go that answers where a module is, and does to build it what a test has it do."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "go"


def does(go: Path, script: str) -> None:
    download = f'[ "$1" = mod ] && {{ echo \'{{"Dir": "{go.parent}"}}\'; exit; }}'
    go.write_text(f"#!/bin/sh\n{download}\n{script}\n")
    go.chmod(0o755)


BUILDS = 'while [ "$1" != -o ]; do shift; done; echo built >"$2"'


@pytest.mark.parametrize("recipe", [PROMETHEUS, OTELCOL], ids=lambda recipe: recipe.name)
def test_what_is_built_is_the_only_thing_left(go: Path, cache: Path, recipe: Recipe) -> None:
    does(go, BUILDS)
    binary = install.install(recipe, timeout_s=30)
    assert binary.read_text() == "built\n"
    assert list((cache / "chipwatt" / "interop").iterdir()) == [binary]


def test_a_tool_that_fails_is_quoted(go: Path) -> None:
    does(go, "echo 'go: downloading x' >&2\necho 'module is gone' >&2\nexit 1")
    with pytest.raises(CannotInstall, match="go build: module is gone"):
        install.install(PROMETHEUS, timeout_s=30)
    assert not PROMETHEUS.path().exists()


def is_held(fifo: Path) -> bool:
    """Whether somebody has it open to read."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def test_a_tool_that_hangs_is_ended_with_its_children(go: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "held"
    os.mkfifo(fifo)
    does(go, f"sleep 60 <>{fifo} & wait")
    with pytest.raises(CannotInstall, match="not built within 1 s"):
        install.install(PROMETHEUS, timeout_s=1)
    deadline_s = time.monotonic() + 30
    while is_held(fifo):
        assert time.monotonic() < deadline_s, "the child is still there"
        time.sleep(0.05)


def test_each_is_told_of_in_a_line(
    go: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    does(go, f'case "$*" in *cmd/prometheus*) echo no >&2; exit 1;; *) {BUILDS};; esac')
    assert install.main(["--limit", "60"]) == 0
    assert install.main(["--limit", "60"]) == 0
    first, second, third, *again = capsys.readouterr().out.splitlines()
    assert first.startswith("victoria-metrics 1.140.0: built in ")
    assert second.startswith("otelcol 0.159.0: built in ")
    assert third == "prometheus 3.11.3: cannot be installed: go build: no"
    assert [line.partition(": ")[2] for line in again[:2]] == ["is installed"] * 2


def test_who_is_ended_ends_what_it_runs(go: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    does(go, f"echo $$ >{started}; exec sleep 60")
    command = [sys.executable, "-m", "tests.interop.install"]
    with subprocess.Popen(command, cwd=Path(install.__file__).parents[2]) as process:
        deadline_s = time.monotonic() + 30
        while not (started.exists() and started.read_text()):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
