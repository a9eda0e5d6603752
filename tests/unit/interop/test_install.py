from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from interop import install
from interop.install import PROMETHEUS, RECIPES, CannotInstall, own_directives

GO_MOD = """\
module example.org/server

go 1.25

replace (
\texample.org/a => example.org/b v1.2.3
\texample.org/tools => ./internal/tools // a folder
)

replace example.org/c => example.org/c v2.0.0

exclude example.org/d v1.0.0

// Broken.
exclude (
\t// worse
\texample.org/e v0.3.0
)

require example.org/f v1.0.0
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_what_counts_in_the_main_module_alone_is_taken_over() -> None:
    assert own_directives(GO_MOD).splitlines() == [
        "replace example.org/a => example.org/b v1.2.3",
        "replace example.org/c => example.org/c v2.0.0",
        "exclude example.org/d v1.0.0",
        "exclude example.org/e v0.3.0",
    ]


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


def test_a_tool_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'go: downloading x' >&2\necho 'module is gone' >&2\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setattr(install, "find_go", lambda: str(go))
    with pytest.raises(CannotInstall, match="go mod: module is gone"):
        install.install(PROMETHEUS, timeout_s=10, say=lambda _: None)
    assert not PROMETHEUS.path().exists()


def test_a_tool_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\nexec sleep 60\n")
    go.chmod(0o755)
    monkeypatch.setattr(install, "find_go", lambda: str(go))
    with pytest.raises(CannotInstall, match="not built within the time"):
        install.install(PROMETHEUS, timeout_s=0.2, say=lambda _: None)
