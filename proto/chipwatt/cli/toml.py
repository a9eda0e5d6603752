"""Writes the little TOML that a child process is configured with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

Table = Mapping[str, object]
"""Keys to bool, int, str, Path, lists of text, or further tables."""


def dumps(table: Table) -> str:
    """Return nested mappings as TOML: values first, then a table for each mapping."""
    return "\n".join(_lines(table, ())) + "\n"


def merged(base: Table, over: Table) -> dict[str, object]:
    """Return ``base`` with the values of ``over``, table by table."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def _lines(table: Table, path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"[{'.'.join(path)}]"] if path and plain else []
    lines += [f"{key} = {_literal(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _lines(value, (*path, key))
    return lines


def _literal(value: object) -> str:
    # A TOML basic string, integer, boolean or array of them reads as JSON does.
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
