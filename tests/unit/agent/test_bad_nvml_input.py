"""Sentinels that a GPU's driver gives for power, through the real binding into the reducer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chipwatt.agent.profiler.reducer import Reducer
from chipwatt.agent.sensing.contract import Quantity, Sensor
from chipwatt.core.clock import NS_PER_MS, NS_PER_S
from chipwatt.core.identity import parse_device
from chipwatt.core.model import Domain, Interface
from fakes import nvml
from fakes.books import books

MS, S = NS_PER_MS, NS_PER_S
UNIX_NS = 1_750_000_000 * S
POWER_MW = 100_000
NO_COUNTER = {"error_energy": 3, "field_error_83": 3, "field_error_191": 3}


def rebuilt(plain: dict[str, Any]) -> Sensor:
    """Return the sensor that the child process described."""
    known = {name: plain[name] for name in Sensor.__dataclass_fields__}
    known |= {
        "device": parse_device(plain["device"]),
        "domain": Domain(plain["domain"]),
        "interface": Interface(plain["interface"]),
        "quantity": Quantity(plain["quantity"]),
    }
    return Sensor(**known)


@pytest.mark.parametrize("value_mw", [2**32 - 1, 3_690_000_000, 1_050_001])
def test_an_impossible_gauge_is_dropped_and_the_energy_stays(tmp_path: Path, value_mw: int) -> None:
    """The bound is 1.5 times the largest limit of the board, 700 W; some tools show 4294967295."""
    spike = [(0, POWER_MW), (5 * S, POWER_MW), (5 * S, value_mw), (5200 * MS, value_mw)]
    load = [*spike, (5200 * MS, POWER_MW), (60 * S, POWER_MW)]
    card = nvml.gpu(1, load, **NO_COUNTER)
    times_ns = range(0, 20 * S + 1, 50 * MS)
    described, *rows = nvml.drive(
        tmp_path, [card], [{"do": "open"}, *({"do": "poll", "at_ns": at} for at in times_ns)]
    )
    sensors = [rebuilt(each) for each in described]
    (instant,) = [at for at, s in enumerate(sensors) if not s.averaging_ns]
    assert sensors[instant].quantity is Quantity.POWER_MW
    reducer = Reducer([sensors[instant]], mono_ns=0, unix_ns=UNIX_NS)
    for row in rows:
        for position, mono_ns, value in row:
            if position == instant:
                reducer.observe(0, mono_ns, value)
    line = books(reducer.finish(20 * S))[sensors[instant].device]
    assert sum(w.provenance.dropped for w in line.windows) == 4
    assert line.gaps == []
    assert line.known_uj == 20 * POWER_MW * 1000
    assert {w.profile.max_mw for w in line.windows} == {POWER_MW}
