"""Whatever happens to sensors and clocks, sums close, time is tiled, bounds hold the truth."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.agent.profiler.reducer import Memory, Reducer
from chipwatt.agent.sensing.contract import Quantity
from chipwatt.core.model import Flag, GapReason
from chipwatt.core.records import Records
from fakes.books import books, seconds, sensor
from fakes.chip import Chip

MS = 1_000_000
S = 1_000 * MS
UNIX_NS = 1_700_000_000 * S
MODULUS_UJ = 262_143_328_850
SENSORS = [
    sensor(0, modulus_uj=MODULUS_UJ),
    sensor(1, refresh_ns=0),
    sensor(2, Quantity.POWER_MW, refresh_ns=0),
    sensor(3, Quantity.POWER_MW, stamped=True, root=False),
]
ACTIONS = (*["run"] * 8, "quiet", "reset", "lost", "glitch", "wall", "measured", "take", "restart")
scripts = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3), st.integers(1, 3000)), max_size=25
)


class Host:
    """Simulated chips, a reducer over them, and everything that it handed out."""

    def __init__(self, window_s: int, batch_s: int, phase_ns: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.window_s, self.batch_s = window_s, batch_s
        self.now_ns, self.wall_ns = 7 * S, UNIX_NS + phase_ns
        trace = [(self.random.randrange(1, 900) * MS, self.random.randrange(350_000))]
        trace += [(400 * MS, 300_000), (50 * MS, 0)]
        self.chips = [
            Chip(trace, modulus_uj=MODULUS_UJ, start_uj=150 * 10**9),
            Chip(trace, start_uj=300 * 10**9),
        ]
        self.was_reset = [False, False]
        self.first_ns: dict[int, int] = {}
        self.last_ns: dict[int, int] = {}
        self.batches: list[Records] = []
        self.reducer = self.start(())

    def start(self, memory: tuple[Memory, ...]) -> Reducer:
        return Reducer(
            SENSORS,
            mono_ns=self.now_ns,
            unix_ns=self.now_ns + self.wall_ns,
            window_ns=self.window_s * S,
            batch_ns=self.batch_s * S,
            memory=memory,
        )

    def read(self, position: int) -> None:
        self.reducer.due(position)
        if position > 1:
            self.reducer.observe(position, self.now_ns, self.random.randrange(300_000))
            return
        chip = self.chips[position]
        self.reducer.observe(position, self.now_ns, chip.counter_uj(self.now_ns))
        self.first_ns.setdefault(position, chip.updated_ns(self.now_ns))
        self.last_ns[position] = chip.updated_ns(self.now_ns)

    def act(self, action: str, position: int, number: int) -> None:
        getattr(self, action)(position, number)

    def run(self, _: int, number: int) -> None:
        for _ in range(number % 60):
            self.now_ns += self.random.randrange(1, 90 * MS)
            for each in range(4):
                self.read(each)
            if self.random.random() < 0.5:
                self.reducer.step(self.now_ns)

    def quiet(self, _: int, number: int) -> None:
        self.now_ns += number * 20 * MS

    def reset(self, position: int, _: int) -> None:
        if position < 2 and not self.was_reset[position]:
            self.was_reset[position] = True
            self.chips[position].reset(self.now_ns)

    def lost(self, position: int, _: int) -> None:
        self.reducer.lost(position, self.now_ns, GapReason.SENSOR_LOST)

    def glitch(self, position: int, number: int) -> None:
        self.now_ns += MS
        if position > 1 or position in self.first_ns:  # no truth contradicts a very first value
            self.reducer.observe(position, self.now_ns, 2**62 - number)

    def wall(self, _: int, number: int) -> None:
        self.wall_ns += (number - 1500) * 3 * MS
        self.reducer.clock(self.now_ns, self.now_ns + self.wall_ns)

    def measured(self, position: int, number: int) -> None:
        period_ns = (number % 100 + 1) * MS
        self.reducer.measured(
            position, refresh_ns=MS, averaging_ns=0, period_ns=period_ns, rate_reduced=True
        )

    def take(self, *_: int) -> None:
        while self.reducer.step(self.now_ns):
            pass
        self.batches += self.reducer.take()

    def restart(self, _: int, number: int) -> None:
        self.batches += self.reducer.finish(self.now_ns)
        memory = tuple(self.reducer.memory())
        self.now_ns += number * MS
        self.reducer = self.start(memory)


@settings(max_examples=60, deadline=None)
@given(
    scripts,
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, S - 1),
    st.integers(0, 2**32),
)
def test_no_joule_is_invented_lost_or_counted_twice(
    script: list[tuple[str, int, int]], window_s: int, batch_s: int, phase_ns: int, seed: int
) -> None:
    host = Host(window_s, batch_s, phase_ns, seed)
    for action, position, number in script:
        host.act(action, position, number)
    host.batches += host.reducer.finish(host.now_ns)
    found = books(host.batches)
    for position in host.first_ns:
        line = found.get(SENSORS[position].device)
        if line is None:
            continue
        chip = host.chips[position]
        truth_uj = chip.energy_uj(host.last_ns[position]) - chip.energy_uj(host.first_ns[position])
        # The last reading may hang on a sensor that was lost or never seen again.
        assert line.lower_uj <= truth_uj
        pending = host.reducer.memory()
        ends = [m.end_mono_ns for m in pending if m.device == SENSORS[position].device]
        if ends and ends[0] >= host.last_ns[position]:
            assert truth_uj <= line.upper_uj


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(0, S - 1), st.integers(0, 2**32), st.integers(1, 99))
def test_host_seconds_add_up_to_the_windows(
    batch_s: int, phase_ns: int, seed: int, period_ms: int
) -> None:
    rng = random.Random(seed)
    reducer = Reducer(
        SENSORS, mono_ns=0, unix_ns=UNIX_NS + phase_ns, window_ns=20 * S, batch_ns=batch_s * S
    )
    for position in range(4):
        reducer.measured(
            position,
            refresh_ns=MS,
            averaging_ns=0,
            period_ns=period_ms * MS,
            rate_reduced=False,
        )
    now_ns, counters = 0, [0, 10**9]
    while now_ns < 25 * S:
        now_ns += rng.randrange(1, 2 * period_ms * MS)
        for position in range(4):
            value = rng.randrange(300_000)
            if position < 2:
                counters[position] += value * period_ms
                value = counters[position]
            reducer.observe(position, now_ns, value)
        reducer.step(now_ns)
    batches = reducer.finish(now_ns)
    found = books(batches)
    roots_uj = sum(found[SENSORS[i].device].known_uj for i in range(3))
    bins = seconds(batches)
    assert sum(s.cpu_mj for s in bins) == roots_uj // 1000
    for before, after in pairwise(bins):
        assert before.start_mono_ns + before.duration_ns == after.start_mono_ns
    for whole in bins[1:-1]:
        assert whole.heard == whole.expected == 3
        assert not whole.flags & Flag.PARTIAL
        mean_mw = whole.cpu_mj * 1_000_000_000 / whole.duration_ns
        assert whole.cpu_peak_mw is not None
        assert whole.cpu_peak_mw >= mean_mw - 2
        assert whole.total_peak_mw == whole.cpu_peak_mw
