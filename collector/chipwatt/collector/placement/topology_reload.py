"""Follows the topology file: a changed one is read, a broken one leaves the old in force."""

from __future__ import annotations

from pathlib import Path

from chipwatt.collector.placement.topology import Topology
from chipwatt.collector.placement.topology_file import load_topology
from chipwatt.core import log
from chipwatt.core.errors import TopologyError

_log = log.get(__name__)
_Stamp = tuple[int, int, int]


class TopologyFile:
    """The file at ``path``, read at once. Raises TopologyError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self.topology = load_topology(path)
        """Of the last time that the file was right."""
        self.error = ""
        """Why the file cannot be used as it is now; empty where it can."""

    def renewed(self, *, whatever: bool = False) -> Topology | None:
        """Return the topology where the file has changed, and its nodes with it.

        ``whatever`` reads the file even where it looks the same. What is wrong with a
        file is logged once and kept in ``error``.
        """
        stamp = self._look()
        if stamp == self._stamp and not whatever:
            return None
        self._stamp = stamp
        try:
            read = load_topology(self._path)
        except TopologyError as error:
            self.error = str(error)
            _log.error("topology refused, the one before stays in force", reason=self.error)
            return None
        self.error = ""
        if read.nodes == self.topology.nodes:
            return None
        self.topology = read
        _log.info("topology read anew", path=str(self._path), nodes=len(read.nodes))
        return read

    def _look(self) -> _Stamp | None:
        """Return what changes with the file; None where there is none."""
        try:
            found = self._path.stat()
        except (OSError, ValueError):
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
