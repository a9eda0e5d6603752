"""Beginnings of streams survive; a tail that is torn or damaged is cut off."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.collector.otlp.stream_book import Began, StreamBook
from chipwatt.core.errors import StoreError

U8 = st.integers(0, 255)
BEGAN = st.builds(
    Began, st.integers(0, 1 << 30), U8, U8, st.integers(0, 1), st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 63) - 1), st.integers(0, 1 << 62),
)  # fmt: skip
RECORD = 32


@settings(deadline=None)  # it syncs a disk
@given(st.lists(st.lists(BEGAN, max_size=5), max_size=5))
def test_what_was_kept_is_read(rounds: list[list[Began]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "otlp" / "x.streams"
        for some in rounds:
            StreamBook(path).keep(some)
        assert StreamBook(path).read() == [one for some in rounds for one in some]


@settings(deadline=None)  # it syncs a disk
@given(st.lists(BEGAN, min_size=1, max_size=5), st.data())
def test_a_torn_or_damaged_tail_is_cut_and_written_over(
    streams: list[Began], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.streams"
        StreamBook(path).keep(streams)
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(content) - 1))
            content[at] ^= data.draw(st.integers(1, 255))
            good = at // RECORD
        else:
            del content[data.draw(st.integers(0, len(content) - 1)) :]
            good = len(content) // RECORD
        path.write_bytes(content)
        assert StreamBook(path).read() == streams[:good]
        StreamBook(path).keep(streams[:1])
        assert StreamBook(path).read() == [*streams[:good], streams[0]]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        StreamBook(tmp_path / "file" / "x").keep([Began(1, 1, 1, 1, 1, 1, 1)])
    with pytest.raises(StoreError, match="cannot be read"):
        StreamBook(tmp_path).read()
