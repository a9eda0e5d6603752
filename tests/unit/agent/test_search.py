"""What was absent at the start is looked for again, at pauses that double, and found once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from chipwatt.agent.inventory import Inventory, open_inventory
from chipwatt.agent.opening import Attempt
from chipwatt.agent.search import FIRST_NS, WARY_NS, Search
from chipwatt.agent.sensing.contract import Sensor
from chipwatt.agent.sensing.registry import Registered
from chipwatt.core.clock import NS_PER_S, VirtualClock
from fakes.file_sensors import FileConfig, FileSource, LibraryFileSource

LONGEST_NS = 60 * NS_PER_S


class Counted(FileSource):
    """Counts how often it is opened."""

    opens = 0

    def open(self) -> Sequence[Sensor]:
        type(self).opens += 1
        return super().open()


def inventory_of(**sources: tuple[type[FileSource], Path]) -> Inventory:
    registry = {name: Registered(name, FileConfig, cls) for name, (cls, _) in sources.items()}
    configs = {name: FileConfig(root) for name, (_, root) in sources.items()}
    return open_inventory(registry, configs)


def seconds_until_found(search: Search, clock: VirtualClock, most_s: int) -> int | None:
    start_ns = clock.mono_ns()
    for second in range(most_s + 1):
        clock.sleep_until(start_ns + second * NS_PER_S)
        if search.look(clock.mono_ns()):
            return second
    return None


def test_a_counter_that_appears_is_found_at_the_next_look(tmp_path: Path) -> None:
    clock = VirtualClock(0)
    search = Search(inventory_of(late=(FileSource, tmp_path)), clock, longest_ns=LONGEST_NS)
    assert seconds_until_found(search, clock, 30) is None
    (tmp_path / "0.uj").write_text("1")
    waited_s = seconds_until_found(search, clock, 60)
    assert waited_s is not None
    assert search.found == ["late"]


def test_looks_become_rarer_up_to_the_longest_pause(tmp_path: Path) -> None:
    Counted.opens = 0
    clock = VirtualClock(0)
    search = Search(inventory_of(late=(Counted, tmp_path)), clock, longest_ns=LONGEST_NS)
    assert seconds_until_found(search, clock, 3600) is None
    assert 60 <= Counted.opens <= 65


def test_what_another_source_reads_already_starts_nothing_anew(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (first / "0.uj").write_text("1")
    clock = VirtualClock(0)
    inventory = inventory_of(a_source=(FileSource, first), late=(FileSource, second))
    search = Search(inventory, clock, longest_ns=LONGEST_NS)
    (second / "0.uj").write_text("1")
    assert seconds_until_found(search, clock, 300) is None
    inventory.close()


def test_a_source_found_in_vain_waits_an_hour(tmp_path: Path) -> None:
    clock = VirtualClock(0)
    inventory = inventory_of(late=(FileSource, tmp_path))
    search = Search(inventory, clock, longest_ns=LONGEST_NS, wary=["late"])
    (tmp_path / "0.uj").write_text("1")
    clock.sleep_until(WARY_NS - 1)
    assert not search.look(clock.mono_ns())
    clock.sleep_until(WARY_NS)
    assert search.look(clock.mono_ns())


def test_a_library_is_noted_before_it_is_entered_and_after(tmp_path: Path) -> None:
    notes: list[tuple[str, bool]] = []
    (tmp_path / "0.uj").write_text("1")
    make = partial(LibraryFileSource, FileConfig(tmp_path))
    attempt = Attempt("lib", make, VirtualClock(0), lambda *note: notes.append(note))
    assert notes == [("lib", False)]
    assert attempt.sensors(5.0)
    assert notes == [("lib", False), ("lib", True)]
    attempt.close()


@pytest.mark.parametrize("longest_ns", [NS_PER_S, FIRST_NS, LONGEST_NS])
def test_the_first_look_is_soon(tmp_path: Path, longest_ns: int) -> None:
    clock = VirtualClock(0)
    search = Search(inventory_of(late=(FileSource, tmp_path)), clock, longest_ns=longest_ns)
    (tmp_path / "0.uj").write_text("1")
    clock.sleep_until(min(longest_ns, FIRST_NS))
    assert search.look(clock.mono_ns())
