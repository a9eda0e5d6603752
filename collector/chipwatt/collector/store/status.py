"""What hosts last said of their sensors and of themselves."""

from __future__ import annotations

import json
from typing import Any

from chipwatt.collector.store.catalogue import Catalogue
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.core.codec import sensor_from_row
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import AbsentReason, Interface, Statistic
from chipwatt.core.records import AbsentInterface, AgentHealth, SensorStatus


class Statuses:
    """The newest sensor, absent-interface and health rows of every host."""

    def __init__(self, catalogue: Catalogue, dictionary: Dictionary) -> None:
        self._catalogue = catalogue
        self._dictionary = dictionary

    def sensors(self, host: bytes) -> list[SensorStatus]:
        """Return the newest status of every sensor. Raises StoreError."""
        devices = self._dictionary.devices
        return [
            sensor_from_row({"statistic": Statistic.ENERGY, **row}, devices[row["device"]][1])
            for row in self._rows(host, SectionKind.SENSOR)
        ]

    def absent(self, host: bytes) -> list[AbsentInterface]:
        """Return the interfaces that give nothing, and why. Raises StoreError."""
        return [
            AbsentInterface(Interface(row["interface"]), AbsentReason(row["reason"]))
            for row in self._rows(host, SectionKind.ABSENT)
        ]

    def health(self, host: bytes) -> AgentHealth | None:
        """Return the agent's newest account of itself. Raises StoreError."""
        rows = self._rows(host, SectionKind.AGENT)
        return AgentHealth(**rows[0]) if rows else None

    def _rows(self, host: bytes, kind: SectionKind) -> list[dict[str, Any]]:
        number = self._dictionary.host_numbers.get(host)
        if number is None:
            return []
        with self._catalogue.reading() as connection:
            found = connection.execute(
                "SELECT row FROM status WHERE host = ? AND kind = ? ORDER BY key",
                (number, int(kind)),
            ).fetchall()
        return [json.loads(row[0]) for row in found]
