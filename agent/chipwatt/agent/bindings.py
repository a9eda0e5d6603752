"""Which workloads are bound on this host, kept in a file of the state directory.

::

    {"version": 1, "boot_id": "<32 hex digits>", "bindings": [Binding.to_plain(), …]}

What was bound in another boot is forgotten: its processes are gone. A change counts
once it is on the disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from chipwatt.core import log
from chipwatt.core.durable import replace_durably
from chipwatt.core.errors import ChipwattError
from chipwatt.core.workload import MAX_BINDINGS, Binding

VERSION = 1
OnChange = Callable[[Sequence[Binding]], None]
_log = log.get(__name__)


class BindingsFull(ChipwattError):
    """As many workloads are bound as a host may have."""


class BindingsNotKept(ChipwattError):
    """The file cannot be written; nothing changed."""

    exit_code = 74  # EX_IOERR


class Bindings:
    """The bindings, in the order in which they were made; one a host."""

    def __init__(self, path: Path, boot_id: bytes, on_change: OnChange) -> None:
        """Take up what is kept; ``on_change`` is told of all bindings now and at each change."""
        self._path = path
        self._boot_id = boot_id
        self._on_change = on_change
        self._by_id = {binding.workload_id: binding for binding in self._kept()}
        if self._by_id:
            on_change(self.all())

    def all(self) -> list[Binding]:
        """Return every binding."""
        return list(self._by_id.values())

    def bind(self, binding: Binding) -> bool:
        """Bind, or bind anew; return whether it was bound before.

        Raises BindingsFull, BindingsNotKept.
        """
        before = self._by_id.get(binding.workload_id)
        if before == binding:
            return True
        if before is None and len(self._by_id) >= MAX_BINDINGS:
            raise BindingsFull(f"{MAX_BINDINGS} workloads are bound: unbind those that ended")
        self._keep({**self._by_id, binding.workload_id: binding})
        return before is not None

    def unbind(self, workload_id: bytes) -> bool:
        """Undo a binding; False where there is none. Raises BindingsNotKept."""
        if workload_id not in self._by_id:
            return False
        self._keep({key: kept for key, kept in self._by_id.items() if key != workload_id})
        return True

    def _keep(self, by_id: dict[bytes, Binding]) -> None:
        plain = {
            "version": VERSION,
            "boot_id": self._boot_id.hex(),
            "bindings": [binding.to_plain() for binding in by_id.values()],
        }
        try:
            replace_durably(self._path, json.dumps(plain).encode(), mode=0o600)
        except OSError as error:
            raise BindingsNotKept(
                f"{self._path}: cannot be written: {error.strerror}; nothing was changed"
            ) from None
        self._by_id = by_id
        self._on_change(self.all())

    def _kept(self) -> list[Binding]:
        try:
            plain = json.loads(self._path.read_text())
            if plain["version"] != VERSION or plain["boot_id"] != self._boot_id.hex():
                return []
            return [Binding.from_plain(entry) for entry in plain["bindings"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.error("bindings cannot be read; none is kept", path=self._path, reason=error)
            return []
