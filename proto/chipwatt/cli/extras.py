"""Optional packages of the command line, imported only where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from chipwatt.core.errors import ChipwattError


class MissingExtra(ChipwattError):
    """A package of an extra is not installed."""

    exit_code = 69  # EX_UNAVAILABLE


def optional(name: str) -> ModuleType | None:
    """Return the module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == name.partition(".")[0]:
            return None
        raise


def require(name: str, purpose: str, extra: str = "cli") -> ModuleType:
    """Return the module; raises MissingExtra that says how to get it."""
    module = optional(name)
    if module is None:
        raise MissingExtra(
            f"{purpose} needs the Python package {name}: run pip install 'chipwatt[{extra}]'."
        )
    return module
