"""pyRAPL as a second opinion on the powercap tree: for cross-checks, off by default.

pyRAPL 0.2.3.1 (2019) neither knows wraps nor multi-die packages nor psys, and its
paths are fixed; here only its sensor object is asked for the raw counter, which
is in µJ whatever its documentation says. Its domains are never added up.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from chipwatt.agent.sensing.contract import (
    Quantity,
    Reading,
    Sensor,
    SourceUnavailable,
    TransientReadError,
)
from chipwatt.agent.sensing.registry import source
from chipwatt.core.identity import DeviceId
from chipwatt.core.model import AbsentReason, DeviceKind, Domain, Interface
from chipwatt.core.records import Throttle


@dataclass(frozen=True, slots=True)
class PyRaplConfig:
    """``[sources.pyrapl]``."""

    enabled: bool = False
    """Whether pyRAPL is asked at all; only worth it for a comparison."""
    max_package_power_w: int = 1000
    """Above this a change of a counter is impossible."""


@source("pyrapl", PyRaplConfig)
class PyRaplSource:
    """Package and DRAM counters as pyRAPL reads them."""

    name: ClassVar[str] = "pyrapl"
    interface: ClassVar[Interface] = Interface.PYRAPL
    library: ClassVar[bool] = True
    fallback: ClassVar[bool] = False

    def __init__(self, config: PyRaplConfig) -> None:
        self._config = config
        self._layout: list[tuple[Any, int]] = []

    def open(self) -> Sequence[Sensor]:
        if not self._config.enabled:
            raise SourceUnavailable(
                AbsentReason.DISABLED,
                "a cross-check only: set sources.pyrapl.enabled = true to compare with it",
            )
        library = _binding()
        sensors = []
        for api, domain in ((library.PkgAPI, Domain.PACKAGE), (library.DramAPI, Domain.DRAM)):
            try:
                found = api()
                energies_uj = found.energy()
            except PermissionError:
                raise SourceUnavailable(
                    AbsentReason.PERMISSION_DENIED,
                    "pyRAPL may not read energy_uj: `chipwatt doctor` names what allows it",
                ) from None
            except Exception as error:  # noqa: BLE001 - pyRAPL raises its own bare exceptions
                if domain is Domain.PACKAGE:
                    raise SourceUnavailable(
                        AbsentReason.NOT_PRESENT, f"pyRAPL finds no package: {error!r}"
                    ) from None
                continue
            for socket, energy_uj in enumerate(energies_uj):
                if energy_uj >= 0:  # -1 stands for a socket number that is not there
                    self._layout.append((found, socket))
                    sensors.append(self._describe(domain, socket))
        return sensors

    def poll(self) -> Sequence[Reading]:
        readings = []
        values: dict[int, Sequence[float]] = {}
        try:
            for position, (api, socket) in enumerate(self._layout):
                if id(api) not in values:
                    values[id(api)] = api.energy()
                energy_uj = int(values[id(api)][socket])
                readings.append(Reading(position, time.monotonic_ns(), energy_uj))
        except (OSError, ValueError) as error:
            raise TransientReadError(f"pyRAPL: {error}") from None
        return readings

    def throttle(self) -> Sequence[tuple[int, Throttle]]:
        return ()

    def close(self) -> None:
        self._layout = []

    def _describe(self, domain: Domain, socket: int) -> Sensor:
        package = Path(f"/sys/class/powercap/intel-rapl/intel-rapl:{socket}")
        try:
            modulus_uj = int((package / "max_energy_range_uj").read_text()) + 1
        except (OSError, ValueError):
            modulus_uj = 0
        return Sensor(
            device=DeviceId(DeviceKind.CPU, socket),
            domain=domain,
            interface=self.interface,
            quantity=Quantity.ENERGY_UJ,
            root=False,
            label=f"{domain.name.lower()}-{socket} by pyRAPL",
            modulus_uj=modulus_uj,
            resolution_uj=61,
            refresh_ns=1_000_000,
            max_power_mw=self._config.max_package_power_w * 1000,
        )


def _binding() -> ModuleType:
    """Import pyRAPL without the two warnings that it logs at import."""
    logging.disable(logging.WARNING)
    try:
        return importlib.import_module("pyRAPL.device_api")
    except ImportError:
        raise SourceUnavailable(
            AbsentReason.LIBRARY_MISSING,
            "the package pyRAPL is not installed: pip install 'chipwatt[pyrapl]' (optional)",
        ) from None
    finally:
        logging.disable(logging.NOTSET)
