"""Racks of hosts whose power is a function of time, and a collector's outlooks over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from chipwatt.collector.latest import Latest
from chipwatt.collector.placement.outlook import Outlook
from chipwatt.collector.placement.outlooks import Outlooks
from chipwatt.collector.placement.topology_reload import TopologyFile
from chipwatt.core.clock import NS_PER_S, VirtualClock
from fakes.fleet_moment import take_seconds
from fakes.telemetry_records import T0_S, a_host

W = 1_000
HOSTS = 8
START_S = T0_S // 60 * 60
Power = Callable[[int, int], int]
"""mW of (host number, second)."""


def noisy(number: int, second: int) -> int:
    """Return 100 W and up to 80 W more, in no order but the same each time."""
    return 100 * W + (number * 7_919 + second * 104_729) % 80_000


def text(*, hosts: int = HOSTS, site_w: int = 5_000, rack_w: int = 1_500, extra: str = "") -> str:
    """Return a site with two racks, hosts in turn on one and the other."""
    racks = "".join(
        f'[[node]]\nid = "r{n}"\nkind = "rack"\nparents = ["site"]\nbudget = "{rack_w}W"\n'
        for n in range(2)
    )
    nodes = "".join(
        f'[[node]]\nid = "h{n}"\nkind = "host"\nparents = ["r{n % 2}"]\nrated = "300W"\n'
        f'host = "{a_host(n).hex()}"\nhw_class = "x"\n'
        for n in range(hosts)
    )
    return f'[[node]]\nid = "site"\nkind = "site"\nbudget = "{site_w}W"\n{racks}{nodes}{extra}'


class Fleet:
    """Telemetry lives in ``latest`` whatever becomes of the outlooks, as it does in a store."""

    def __init__(self, folder: Path, power: Power = noisy) -> None:
        self.folder = folder
        self.path = folder / "topology.toml"
        self.path.write_text(text())
        self.clock = VirtualClock(START_S * NS_PER_S)
        self.latest = Latest()
        self.power = power
        self.outlooks = self.opened()

    def opened(self) -> Outlooks:
        """Return outlooks as a new process would have them."""
        return Outlooks(
            self.latest,
            self.clock.unix_ns,
            file=TopologyFile(self.path),
            state_path=self.folder / "forecast.npz",
        )

    @property
    def now_s(self) -> int:
        return self.clock.unix_ns() // NS_PER_S

    def wait(self, seconds: int) -> None:
        self.clock.sleep_until(self.clock.mono_ns() + seconds * NS_PER_S)

    def hear(self, first_s: int, end_s: int, numbers: Iterable[int] = range(HOSTS)) -> None:
        """Let hosts report these seconds, with in-bin peaks 5 W above the means."""
        which = list(numbers)
        mean = np.array([[self.power(n, s) for s in range(first_s, end_s)] for n in which])
        take_seconds(self.latest, [a_host(n) for n in which], first_s, mean, mean + 5 * W)

    def history(self, numbers: Iterable[int] = range(HOSTS)) -> None:
        """Let the ten minutes up to now be known."""
        self.hear(self.now_s - 599, self.now_s + 1, numbers)

    def run(self, seconds: int, numbers: Iterable[int] = range(HOSTS)) -> Outlook:
        """Let time pass, a tick a second."""
        which = list(numbers)
        outlook = self.outlooks.latest()
        for _ in range(seconds):
            self.wait(1)
            if which:
                self.hear(self.now_s, self.now_s + 1, which)
            outlook = self.outlooks.tick()
        return outlook
