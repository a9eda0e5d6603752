"""Strict TOML into frozen dataclasses, and back.

A configuration is a tree of frozen dataclasses whose fields all have
defaults. Field types: ``bool``, ``int``, ``float``, ``str``, ``Path``,
``Duration``, ``Size``, ``tuple[str, ...]``, ``X | None`` of these, nested
dataclasses for tables, tuples of dataclasses for arrays of tables, and
``Mapping[str, Any]`` for a table whose keys someone else knows: it comes as TOML
gave it, and ``dump`` writes what dataclasses it holds. The string literal under
a field is its documentation and becomes the comment in ``dump``.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import itertools
import re
import textwrap
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NewType, TypeVar

from chipwatt.core.errors import ConfigError

Duration = NewType("Duration", int)
"""Nanoseconds; written ``"250ms"``, ``"10s"``, ``"5min"``, ``"1h"``, ``"30d"``."""
Size = NewType("Size", int)
"""Bytes; written ``"64MiB"``."""

_DURATION_NS = {
    "ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000,
    "h": 3_600_000_000_000, "d": 86_400_000_000_000,
}  # fmt: skip
_SIZE_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")

T = TypeVar("T")


def duration(text: str) -> Duration:
    """Read ``"250ms"``; raises ValueError that names the units."""
    return Duration(_quantity(text, _DURATION_NS))


def size(text: str) -> Size:
    """Read ``"64MiB"``; raises ValueError that names the units."""
    return Size(_quantity(text, _SIZE_BYTES))


def load(cls: type[T], path: Path | None) -> T:
    """Read a TOML file into ``cls``; None gives the defaults.

    Raises ConfigError that names file, key and what would be right.
    """
    return build(cls, {}, "defaults") if path is None else build(cls, parse(path), str(path))


def parse(path: Path) -> dict[str, Any]:
    """Return a TOML file's tables as they are; raises ConfigError that names the file."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML: nested too deeply") from None
    except ValueError:  # a NUL byte
        raise ConfigError(f"{str(path)!r}: cannot be read: that is no path") from None


def build(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Turn a parsed table into ``cls``, refusing unknown keys by name.

    Raises ConfigError; ``where`` is the file and table for its message.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name: hints[f.name] for f in fields(cls)}  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {key!r}{hint}")
        values[key] = _convert(known[key], value, f"{where}: {key}")
    try:
        return cls(**values)
    except ValueError as error:  # a dataclass's own __post_init__ range check
        raise ConfigError(f"{where}: {error}") from None


def dump(config: Any, table: str = "") -> str:
    """Write ``config`` as TOML with each field's documentation as a comment."""
    plain: list[str] = []
    nested: list[str] = []
    comments = _field_comments(type(config))
    hints = typing.get_type_hints(type(config))
    for f in fields(config):
        value = getattr(config, f.name)
        comment = textwrap.wrap(comments.get(f.name, ""), 96)
        name = f"{table}.{f.name}" if table else f.name
        if isinstance(value, Mapping):
            nested.extend(dump(item, f"{name}.{_key(key)}") for key, item in value.items())
            continue
        if _tables(hints[f.name]) is not None:
            nested.append("\n".join([*(f"# {line}" for line in comment), f"# [[{name}]]"]) + "\n")
            nested.extend(dump(item, name).replace(f"[{name}]", f"[[{name}]]", 1) for item in value)
            continue
        if is_dataclass(value):
            nested.append("\n".join([*(f"# {line}" for line in comment), dump(value, name)]))
            continue
        plain.extend(f"# {line}" for line in comment)
        text = _literal(hints[f.name], value)
        plain.append(f"{f.name} = {text}" if text else f"# {f.name} =    # not set")
    head = [f"[{table}]"] if table and (plain or not nested) else []
    return "\n".join([*head, *plain]).rstrip() + "\n" + "".join("\n" + part for part in nested)


def _convert(wanted: Any, value: Any, where: str) -> Any:
    if typing.get_origin(wanted) in (types.UnionType, typing.Union):
        wanted = next(arg for arg in typing.get_args(wanted) if arg is not type(None))
    if is_dataclass(wanted) or typing.get_origin(wanted) is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is a table, got {value!r}")
        return build(wanted, value, where) if isinstance(wanted, type) else dict(value)
    if (table := _tables(wanted)) is not None:
        if not isinstance(value, list):
            raise ConfigError(f"{where} is an array of tables, got {value!r}")
        return tuple(_convert(table, item, where) for item in value)
    try:
        return _convert_value(wanted, value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from None


def _tables(annotation: Any) -> Any:
    """Return the dataclass of an array of tables; None where ``annotation`` is something else."""
    arguments = typing.get_args(annotation)
    is_tuple = typing.get_origin(annotation) is tuple
    return arguments[0] if is_tuple and is_dataclass(arguments[0]) else None


def _convert_value(wanted: Any, value: Any) -> Any:
    if wanted is Duration or wanted is Size:
        return (duration if wanted is Duration else size)(value)
    if wanted is Path:
        text = _exactly(str, value)
        if "\0" in text or not text:
            raise ValueError(f"a path expected, got {text!r}")
        return Path(text).expanduser() if text.startswith("~/") else Path(text)
    if typing.get_origin(wanted) is tuple:
        return tuple(_exactly(str, item) for item in _exactly(list, value))
    if wanted is float and type(value) is int:
        return float(value)
    return _exactly(wanted, value)


def _exactly(wanted: type[T], value: Any) -> T:
    if type(value) is not wanted:
        name = {
            "str": "text", "list": "a list of text", "bool": "true or false",
            "int": "a whole number", "float": "a number",
        }  # fmt: skip
        raise TypeError(f"{name.get(wanted.__name__, wanted.__name__)} expected, got {value!r}")
    return value


def _quantity(text: str, units: Mapping[str, int]) -> int:
    match = _QUANTITY.fullmatch(str(text))
    if match is None or match[2] not in units:
        raise ValueError(f"{text!r} is no number with one of the units {', '.join(units)}")
    whole, _, fraction = match[1].partition(".")
    unit = units[match[2]]
    return int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)


def _literal(annotation: Any, value: Any) -> str:
    if value is None:
        return ""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    if annotation is Duration or annotation is Size:
        units = _DURATION_NS if annotation is Duration else _SIZE_BYTES
        name, unit = max(
            ((n, u) for n, u in units.items() if value % u == 0), key=lambda item: item[1]
        )
        nothing = "0s" if annotation is Duration else "0B"
        return f'"{value // unit}{name}"' if value else f'"{nothing}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(str, item) for item in value) + "]"
    if isinstance(value, (str, Path)):
        return _text(str(value))
    return str(value)


def _text(value: str) -> str:
    """Write a basic string as TOML 1.0 has it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", escaped) + '"'


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _field_comments(cls: type) -> dict[str, str]:
    """Return the string literal under each field of a dataclass and of those it inherits from."""
    inherited: dict[str, str] = {}
    for base in cls.__bases__:
        if is_dataclass(base):
            inherited |= _field_comments(base)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):  # made at run time: it has no source
        return inherited
    body = typing.cast("ast.ClassDef", tree.body[0]).body
    return inherited | {
        field.target.id: inspect.cleandoc(below.value.value).replace("\n", " ")
        for field, below in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
