"""A token is good once, for one name, until its end, and only as it was given out."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.core.bootstrap_token import REFUSED, Grant, TokenBook, TokenRefused

GRANT = Grant("agent", "node-1")
NOW_S = 1_800_000_000


def test_it_is_good_once(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    token = book.issue(GRANT, NOW_S + 60).encode()
    assert book.take(token, NOW_S) == GRANT
    with pytest.raises(TokenRefused, match=REFUSED):
        book.take(token, NOW_S)
    assert list((tmp_path / "tokens").iterdir()) == []


@pytest.mark.parametrize(("now_s", "good"), [(NOW_S + 59, True), (NOW_S + 60, False)])
def test_it_ends(tmp_path: Path, now_s: int, good: bool) -> None:
    book = TokenBook(tmp_path)
    token = book.issue(GRANT, NOW_S + 60).encode()
    if good:
        assert book.take(token, now_s) == GRANT
        return
    for at_s in (now_s, NOW_S):
        with pytest.raises(TokenRefused):
            book.take(token, at_s)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_no_other_text_is_taken_nor_uses_it_up(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = TokenBook(Path(folder))
        token = book.issue(GRANT, NOW_S + 60).encode()
        at = data.draw(st.integers(0, len(token) - 1))
        other = data.draw(
            st.binary(min_size=0, max_size=3).filter(lambda b: b != token[at : at + 1])
        )
        changed = token[:at] + other + token[at + 1 :]
        with pytest.raises(TokenRefused) as raised:
            book.take(changed, NOW_S)
        assert str(raised.value) == REFUSED, "of every kind the same words"
        assert book.take(token, NOW_S) == GRANT


@pytest.mark.parametrize(
    "text", [b"", b"chipwatt-", b"chipwatt-../../x-", b"\0" * 70, b"x" * 10**6]
)
def test_what_is_no_token_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(TokenRefused):
        TokenBook(tmp_path).take(text, NOW_S)


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    token = TokenBook(tmp_path).issue(GRANT, NOW_S + 60).encode()

    def attempt(_: int) -> bool:
        try:
            return TokenBook(tmp_path).take(token, NOW_S) == GRANT
        except TokenRefused:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(32))) == 1


def test_who_reads_the_folder_has_no_token(tmp_path: Path) -> None:
    token = TokenBook(tmp_path).issue(GRANT, NOW_S + 60)
    secret = token.rpartition("-")[2] if token.count("-") == 2 else token[len("chipwatt-") + 17 :]
    (file,) = (tmp_path / "tokens").iterdir()
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o700


def test_a_damaged_file_is_no_token(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    token = book.issue(GRANT, NOW_S + 60).encode()
    (file,) = (tmp_path / "tokens").iterdir()
    for text in ("", "{}", "[]", '{"digest": "00"}', "null"):
        file.write_text(text)
        with pytest.raises(TokenRefused):
            book.take(token, NOW_S)
        book.sweep(NOW_S)


def test_those_that_ended_unused_are_forgotten(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    book.issue(GRANT, NOW_S)
    kept = book.issue(GRANT, NOW_S + 1).encode()
    book.sweep(NOW_S)
    assert len(list((tmp_path / "tokens").iterdir())) == 1
    assert book.take(kept, NOW_S) == GRANT
