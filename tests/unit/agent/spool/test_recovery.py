"""What a start makes of a spool that lost its end, its cursor or was given strange files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chipwatt.agent.spool.record import FRAME_MAGIC, Position, pack_cursor
from fakes.spools import filled, newest, opened, payloads, read_all


def settled(folder: Path, *texts: bytes) -> None:
    spool = opened(folder)
    spool.append([(text, b"memory of " + text) for text in texts])
    spool.ack(read_all(spool)[-1].position)
    spool.close()


def flip(data: bytes) -> bytes:
    at = data.rindex(FRAME_MAGIC) + 45
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def cut_frame(data: bytes) -> bytes:
    return data[: data.rindex(FRAME_MAGIC)]


@pytest.mark.parametrize("mess", [flip, cut_frame, lambda data: data[:-3], lambda data: data[:170]])
def test_nothing_is_resumed_from_a_record_behind_which_one_was_sent(
    tmp_path: Path, mess: Callable[[bytes], bytes]
) -> None:
    """Not at the second start either, and no sequence of that epoch is given again."""
    settled(tmp_path, b"first", b"second", b"third")
    newest(tmp_path).write_bytes(mess(newest(tmp_path).read_bytes()))
    doubtful: set[bytes] = set()
    for _ in range(3):
        spool = opened(tmp_path)
        assert spool.memory == b""
        doubtful |= {spool.doubtful_memory}
        for record in read_all(spool):
            spool.ack(record.position)
        spool.close()
    assert doubtful in ({b""}, {b"memory of first"}, {b"memory of second"})
    spool = opened(tmp_path)
    spool.append([(b"fourth", b"new memory")])
    assert read_all(spool)[-1].sequence == 1
    spool.close()
    spool = opened(tmp_path)
    assert (spool.memory, spool.doubtful_memory) == (b"new memory", b"")
    spool.close()


def test_what_is_torn_before_anything_was_sent_is_bridged(tmp_path: Path) -> None:
    filled(tmp_path, b"first", b"second")
    newest(tmp_path).write_bytes(newest(tmp_path).read_bytes()[:-3])
    for _ in range(2):
        spool = opened(tmp_path)
        assert spool.memory == b"memory of first"
        spool.close()


@pytest.mark.parametrize(
    "cursor", [Position(50, 99_999), Position(1, 1 << 40), Position(1, 170), Position(1 << 63, 5)]
)
def test_a_cursor_that_points_at_no_record_discards_nothing(
    tmp_path: Path, cursor: Position
) -> None:
    filled(tmp_path, b"first", b"second")
    (tmp_path / "cursor").write_bytes(pack_cursor(cursor))
    for _ in range(2):
        spool = opened(tmp_path)
        assert payloads(spool) == [b"first", b"second"]
        spool.close()
    spool = opened(tmp_path)
    spool.append([(b"third", b"")])
    records = read_all(spool)
    spool.ack(records[1].position)
    spool.close()
    spool = opened(tmp_path)
    assert read_all(spool) == records[2:]
    spool.close()


@pytest.mark.parametrize("texts", [(), (b"older",)])
def test_a_mark_says_that_a_number_was_used(tmp_path: Path, texts: tuple[bytes, ...]) -> None:
    filled(tmp_path, *texts)
    (tmp_path / "00000007.sent").touch()
    for _ in range(2):
        spool = opened(tmp_path)
        assert spool.memory == b""
        spool.close()
    spool = opened(tmp_path)
    spool.append([(b"new", b"m")])
    assert newest(tmp_path).name == "00000008.seg"
    spool.close()
    spool = opened(tmp_path)
    assert spool.memory == b"m"
    assert not (tmp_path / "00000007.sent").exists()
    spool.close()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("\u00b2.seg", "file"),
        ("7.seg", "file"),
        (f"{1 << 64}.seg", "file"),
        (f"{(1 << 64) - 1}.damaged", "file"),
        ("00000099.seg", "fifo"),
        ("00000099.seg", "directory"),
        ("00000099.sent", "directory"),
        ("00000099.seg", "dangling"),
        ("merging", "directory"),
        ("cursor", "directory"),
        ("cursor", "fifo"),
    ],
)
def test_what_is_not_the_spools_is_left_alone(tmp_path: Path, name: str, kind: str) -> None:
    filled(tmp_path, b"first")
    path = tmp_path / name
    if kind == "file":
        path.write_bytes(FRAME_MAGIC * 500)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    for _ in range(2):
        spool = opened(tmp_path)
        assert spool.memory == b"memory of first"
        assert payloads(spool) == [b"first"]
        assert spool.counts().damaged == 0
        spool.close()
    spool = opened(tmp_path)
    spool.append([(b"second", b"")])
    spool.append([(b"third", b"")])
    assert payloads(spool) == [b"first", b"second", b"third"]
    spool.close()
    assert os.path.lexists(path)
