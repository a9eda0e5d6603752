"""State folders: a kept one belongs to one run at a time, a temporary one goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chipwatt.cli.children import ChildFailed
from chipwatt.cli.station import Station
from chipwatt.core.errors import ConfigError


def test_a_temporary_folder_goes() -> None:
    with Station(None) as station:
        folder = station.folder
        assert folder.is_dir()
        assert station.agent_status() == {}
    assert not folder.exists()


def test_a_kept_folder_stays_and_is_locked(tmp_path: Path) -> None:
    kept = tmp_path / "new" / "kept"
    complaint = f"process {os.getpid()} keeps its state here"
    with Station(kept), pytest.raises(ConfigError, match=complaint):
        Station(kept)
    with Station(kept) as again:
        assert again.folder == kept


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot keep state here"):
        Station(tmp_path / "file" / "below")


def test_a_collector_that_cannot_start_says_why_in_its_own_words() -> None:
    with (
        Station(None) as station,
        pytest.raises(ChildFailed, match=r"code 78: .*unknown key 'lsten'; did you mean 'listen'"),
    ):
        station.start_collector({"lsten": "127.0.0.1:0"})
