"""What hosts last said of their sensors and of themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from chipwatt.collector.store.catalogue import Catalogue
from chipwatt.collector.store.damage import Damage
from chipwatt.collector.store.dictionary import Dictionary
from chipwatt.core.codec import sensor_from_row
from chipwatt.core.columns import SectionKind
from chipwatt.core.model import AbsentReason, Interface, Statistic
from chipwatt.core.records import AbsentInterface, AgentHealth, SensorStatus

T = TypeVar("T")


class Statuses:
    """The newest sensor, absent-interface and health rows of every host."""

    def __init__(self, catalogue: Catalogue, dictionary: Dictionary, damage: Damage) -> None:
        self._damage = damage
        self._catalogue = catalogue
        self._dictionary = dictionary

    def sensors(self, host: bytes) -> list[SensorStatus]:
        """Return the newest status of every sensor. Raises StoreError."""
        devices = self._dictionary.devices

        def sensor(row: dict[str, Any]) -> SensorStatus:
            return sensor_from_row(
                {"statistic": Statistic.ENERGY, **row}, devices[row["device"]][1]
            )

        return self._read(host, SectionKind.SENSOR, sensor)

    def absent(self, host: bytes) -> list[AbsentInterface]:
        """Return the interfaces that give nothing, and why. Raises StoreError."""
        return self._read(
            host,
            SectionKind.ABSENT,
            lambda row: AbsentInterface(Interface(row["interface"]), AbsentReason(row["reason"])),
        )

    def health(self, host: bytes) -> AgentHealth | None:
        """Return the agent's newest account of itself. Raises StoreError."""
        found = self._read(host, SectionKind.AGENT, lambda row: AgentHealth(**row))
        return found[0] if found else None

    def _read(
        self, host: bytes, kind: SectionKind, made_of: Callable[[dict[str, Any]], T]
    ) -> list[T]:
        """Return what rows say; one that is damaged is left out until the host says it again."""
        number = self._dictionary.host_numbers.get(host)
        if number is None:
            return []
        with self._catalogue.reading() as connection:
            found = connection.execute(
                "SELECT CAST(row AS BLOB), key FROM status "
                "WHERE host = ? AND kind = ? ORDER BY key",
                (number, int(kind)),
            ).fetchall()
        said = []
        for row, key in found:
            try:
                said.append(made_of(json.loads(row)))
            except (ValueError, TypeError, LookupError) as error:
                place = f"status {host.hex()} {kind.name.lower()} {key}"
                self._damage.forgotten(place, str(error))
        return said
