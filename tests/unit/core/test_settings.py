from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.core import settings
from chipwatt.core.errors import ConfigError
from chipwatt.core.settings import Duration, Size, duration, size

_TEN_S = Duration(10_000_000_000)
_KIB = Size(1024)


@dataclass(frozen=True, slots=True)
class Inner:
    """A table."""

    rate: float = 0.5
    """How often; "quoted" words and a \\ stay harmless in a comment that is long enough to be
    wrapped onto a second line of the printed file."""
    names: tuple[str, ...] = ()
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("rate is not negative")


@dataclass(frozen=True, slots=True)
class Outer:
    """A file."""

    text: str = "x"
    on: bool = True
    count: int = 3
    """How many."""
    where: Path = Path("/var")
    maybe: Path | None = None
    pause: Duration = _TEN_S
    space: Size = _KIB
    inner: Inner = field(default_factory=Inner)
    """What lies inside."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    many: tuple[Inner, ...] = ()
    """Some tables."""


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
paths = texts.filter(lambda t: "\0" not in t and not t.startswith("~/")).map(Path)
inners = st.builds(
    Inner,
    rate=st.floats(0, allow_nan=False),
    names=st.lists(texts, max_size=4).map(tuple),
    limit=st.none() | st.integers(),
)
outers = st.builds(
    Outer,
    text=texts,
    on=st.booleans(),
    count=st.integers(),
    where=paths,
    maybe=st.none() | paths,
    many=st.lists(inners, max_size=3).map(tuple),
    pause=st.integers(0, 2**70).map(Duration),
    space=st.integers(0, 2**70).map(Size),
    inner=inners,
    extra=st.dictionaries(texts.filter(bool), inners, max_size=3),
)


@given(outers)
def test_what_dump_writes_loads_again(config: Outer) -> None:
    table = tomllib.loads(settings.dump(config))
    again = settings.build(Outer, table, "dumped")
    extra = {key: settings.build(Inner, value, key) for key, value in again.extra.items()}
    assert replace(again, extra=extra) == config


def test_dump_explains_every_field_that_is_documented() -> None:
    text = settings.dump(Outer())
    assert "# How many.\ncount = 3\n" in text
    assert "# What lies inside.\n[inner]\n# How often;" in text
    assert "# maybe =    # not set\n" in text
    assert 'pause = "10s"\n' in text
    assert 'space = "1KiB"\n' in text
    assert max(map(len, text.splitlines())) <= 98


def test_dump_of_a_class_without_source_has_no_comments() -> None:
    made = make_dataclass("Made", [("a", int, 1)], frozen=True)
    assert settings.dump(made()) == "a = 1\n"


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250ms", 250_000_000),
        ("10s", 10_000_000_000),
        (" 5 min ", 300_000_000_000),
        ("1h", 3_600_000_000_000),
        ("30d", 2_592_000_000_000_000),
        ("1.5s", 1_500_000_000),
        ("0.25us", 250),
        ("0s", 0),
        ("7ns", 7),
    ],
)
def test_durations(text: str, ns: int) -> None:
    assert duration(text) == ns


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1 parsec", "1e3s", "1s2", "10 S", "1,5s"])
def test_what_is_no_duration_names_the_units(text: str) -> None:
    with pytest.raises(ValueError, match="ns, us, ms, s, min, h, d"):
        duration(text)


def test_sizes() -> None:
    assert size("64MiB") == 64 << 20
    assert size("1.5KiB") == 1536
    with pytest.raises(ValueError, match="KiB, MiB"):
        size("64MB")


@given(st.integers(0, 10**6), st.integers(0, 999))
def test_fractions_are_exact(whole: int, thousandths: int) -> None:
    assert duration(f"{whole}.{thousandths:03d}s") == (whole * 1000 + thousandths) * 1_000_000


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("cuont = 1", "unknown key 'cuont'; did you mean 'count'?"),
        ("zzzzzz = 1", "unknown key 'zzzzzz'; known: text, on, count"),
        ("inner.raet = 1", "inner: unknown key 'raet'; did you mean 'rate'?"),
        ("count = '3'", "count: a whole number expected, got '3'"),
        ("count = true", "count: a whole number expected, got True"),
        ("count = 3.0", "count: a whole number expected, got 3.0"),
        ("on = 1", "on: true or false expected, got 1"),
        ("text = 1", "text: text expected, got 1"),
        ("where = 1", "where: text expected"),
        ("pause = 10", "pause: 10 is no number with one of the units"),
        ("inner = 3", "inner is a table, got 3"),
        ("extra = 3", "extra is a table, got 3"),
        ("inner.names = 'a'", "inner: names: a list of text expected"),
        ("inner.names = [1]", "inner: names: text expected"),
        ("inner.rate = -1", "inner: rate is not negative"),
        ("inner.rate = '1'", "inner: rate: a number expected"),
        ("inner.limit = 'x'", "inner: limit: a whole number expected"),
        ("count = ", "not valid TOML"),
        ("count = 1\ncount = 2", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_one_sentence_with_file_and_key(
    tmp_path: Path, toml: str, message: str
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(toml)
    with pytest.raises(ConfigError) as caught:
        settings.load(Outer, path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert caught.value.exit_code == 78


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        settings.load(Outer, tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        settings.load(Outer, tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'text = "\xe4"')
    with pytest.raises(ConfigError, match="not valid TOML"):
        settings.load(Outer, tmp_path / "latin.toml")


def test_no_file_is_the_defaults() -> None:
    assert settings.load(Outer, None) == Outer()


def test_whole_numbers_are_numbers_and_home_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    config = settings.build(Outer, {"where": "~/spool", "inner": {"rate": 2}}, "here")
    assert config.where == Path("/home/someone/spool")
    assert config.inner.rate == 2.0
    assert isinstance(config.inner.rate, float)


def test_an_open_table_comes_as_it_is() -> None:
    tables = {"a": {"b": [1, {"c": 2.5}]}}
    assert settings.build(Outer, {"extra": tables}, "here").extra == tables


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
keys = st.sampled_from(["text", "on", "count", "where", "pause", "space", "inner", "extra", "x"])


@given(st.dictionaries(keys, json_like))
def test_whatever_comes_is_a_config_or_a_config_error(table: dict[str, Any]) -> None:
    try:
        config = settings.build(Outer, table, "somewhere")
    except ConfigError as error:
        assert str(error).startswith("somewhere")  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(config, Outer)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 5_000, "nested too deeply"),
        ('path = "with\\u0000nul"', "a path expected"),
        ('path = ""', "a path expected"),
    ],
)
def test_hostile_files_are_told_in_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        settings.load(Pathed, file)


def test_a_path_that_is_none() -> None:
    with pytest.raises(ConfigError, match="that is no path"):
        settings.load(Pathed, Path("with\0nul"))


@dataclass(frozen=True)
class Pathed:
    path: Path = Path("there")
