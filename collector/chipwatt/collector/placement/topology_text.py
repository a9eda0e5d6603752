"""Text of a topology file, TOML or YAML, as plain tables with the lines on which they stand."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

_TOML_NODE = re.compile(r"[ \t]*\[\[[ \t]*(?:node|\"node\"|'node')[ \t]*\]\]")
_TOML_ID = re.compile(r"[ \t]*(?:id|\"id\"|'id')[ \t]*=")
_MAX_DEPTH = 8
_WHOLE = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})")
_YAML = "tag:yaml.org,2002:"


class Wrong(ValueError):
    """A reason, still without file; ``line`` from 1, 0 where it is of no one line."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class Entry:
    """One node as it is written."""

    table: Mapping[str, Any]
    line: int
    """Of its id, or where it begins; 0 where nobody can say."""


def read_toml(text: str) -> tuple[Mapping[str, Any], list[Entry]]:
    """Return the whole table and its ``[[node]]`` tables. Raises Wrong."""
    try:
        whole = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise Wrong(f"not valid TOML: {error}") from None
    except RecursionError:
        raise Wrong("not valid TOML: nested too deeply") from None
    tables = _tables(whole)
    return whole, [_entry(*one) for one in zip(tables, _toml_lines(text, len(tables)), strict=True)]


def read_yaml(text: str) -> tuple[Mapping[str, Any], list[Entry]]:
    """Return the whole mapping and the entries of its ``node`` list. Raises Wrong."""
    try:
        import yaml
    except ImportError:
        raise Wrong("a YAML file needs PyYAML (extra `collector`); TOML does without") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # First without a tree: libyaml builds a deep one by recursion, and crashes.
        _check_depth(yaml.parse(text, loader))
        root = yaml.compose(text, loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise Wrong(f"not valid YAML: {error.problem}", line) from None
    except yaml.YAMLError as error:
        raise Wrong(f"not valid YAML: {error}") from None
    whole = {} if root is None else _plain(root)
    if not isinstance(whole, dict):
        raise Wrong("it holds no mapping with a list `node`", 1)
    tables = _tables(whole)
    return whole, [_entry(*one) for one in zip(tables, _yaml_lines(root), strict=True)]


def _check_depth(events: Iterable[Any]) -> None:
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        if depth > 2 + _MAX_DEPTH:  # stream and document are levels too
            raise Wrong("not valid YAML: nested too deeply", event.start_mark.line + 1)


def _tables(whole: Mapping[str, Any]) -> list[Any]:
    tables = whole.get("node", [])
    if not isinstance(tables, list):
        raise Wrong("node is a list: [[node]] in TOML, `- id: ...` in YAML")
    return tables


def _entry(table: object, line: int) -> Entry:
    if not isinstance(table, dict):
        raise Wrong(f"a node is a table of keys, not {table!r:.60}", line)
    return Entry(table, line)


def _toml_lines(text: str, count: int) -> list[int]:
    lines = text.split("\n")
    heads = [number for number, line in enumerate(lines) if _TOML_NODE.match(line)]
    if not heads or len(heads) != count:  # inline tables, or a heading within a text
        return [0] * count
    found = []
    for head, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        # An id inside a parent's braces stands after "{" or ",", never first on its line.
        of_id = (number for number in range(head, end) if _TOML_ID.match(lines[number]))
        found.append(next(of_id, head) + 1)
    return found


def _yaml_lines(root: Any) -> list[int]:
    """Return the line of each node's id, from the marks of the text."""
    found = []
    for key, value in root.value if root is not None else ():
        if key.value == "node":
            for item in value.value:
                ids = (
                    (name for name, _ in item.value if name.value == "id") if _is_map(item) else ()
                )
                found.append(next(iter(ids), item).start_mark.line + 1)
    return found


def _is_map(node: Any) -> bool:
    return bool(node.id == "mapping")


def _plain(node: Any, depth: int = 0) -> Any:
    """Return a YAML node as TOML would give it: fractions exact, words as text."""
    line = node.start_mark.line + 1
    if depth > _MAX_DEPTH:
        raise Wrong("not valid YAML: nested too deeply", line)
    if node.id == "sequence":
        return [_plain(item, depth + 1) for item in node.value]
    if _is_map(node):
        table: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key.value, str):
                raise Wrong("a key is a word", key.start_mark.line + 1)
            if key.value in table:
                raise Wrong(f"the key {key.value!r} stands there twice", key.start_mark.line + 1)
            table[key.value] = _plain(value, depth + 1)
        return table
    return _scalar(node, line)


def _scalar(node: Any, line: int) -> Any:
    text: str = node.value
    kind = node.tag.removeprefix(_YAML)
    if kind == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind == "int" and _WHOLE.fullmatch(text):
        return int(text)
    if kind == "float":
        try:
            return Decimal(re.sub(r"\.(inf|nan)$", r"\1", text.replace("_", "").lower()))
        except InvalidOperation:
            raise Wrong(f"{text!r:.40} is no plain number", line) from None
    # YAML 1.1 takes `no` for a truth value, 2025-01-01 for a date, and a host's id of digits
    # alone for a number: here they are names.
    return text
