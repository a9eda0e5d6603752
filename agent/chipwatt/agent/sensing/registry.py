"""Which sources there are: ours by a walk over ``sources``, others' by entry point.

A package of a site adds its own source with an entry point in the group
``chipwatt.sources`` whose target is a module that uses ``@source``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chipwatt.agent.sensing.contract import Source


@dataclass(frozen=True, slots=True)
class Registered:
    """A source class and the dataclass of its ``[sources.<name>]`` table."""

    name: str
    config: type[Any]
    make: Callable[[Any], Source]


_registered: dict[str, Registered] = {}


def source(name: str, config: type[Any]) -> Callable[[type[Any]], type[Any]]:
    """Register the decorated class; it is made with one instance of ``config``."""

    def register(cls: type[Any]) -> type[Any]:
        if name in _registered and _registered[name].make is not cls:
            raise ValueError(f"two sources are called {name!r}")
        _registered[name] = Registered(name, config, cls)
        return cls

    return register


def load() -> dict[str, Registered]:
    """Import every source module and return what registered, by name."""
    from importlib.metadata import entry_points  # costs the agent 2 MiB: only where it is asked

    package = importlib.import_module("chipwatt.agent.sources")
    for module in pkgutil.iter_modules(package.__path__, "chipwatt.agent.sources."):
        importlib.import_module(module.name)
    for entry in entry_points(group="chipwatt.sources"):
        entry.load()
    return dict(_registered)
