"""A missing optional package is a sentence, a broken one is not hidden."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chipwatt.cli import completion, main
from chipwatt.cli.extras import MissingExtra, optional, require


def test_what_is_there_is_returned() -> None:
    assert require("json", "anything").__name__ == "json"


def test_what_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(MissingExtra, match=r"shtab: run pip install 'chipwatt\[cli\]'"):
        completion.run(main.parser_for().parse_args(["completion", "bash"]))


def test_a_package_that_misses_another_is_not_called_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_extra.py").write_text("import not_here_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="not_here_at_all"):
        optional("broken_extra")
