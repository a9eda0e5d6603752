"""A source is left out once the process died twice while opening it, and no other is."""

from __future__ import annotations

from chipwatt.agent import sensing_link as link
from chipwatt.agent.suspects import Suspects

SEGV = -11


def life(suspects: Suspects, *opening: link.Opening) -> link.Start:
    start = suspects.careful_start(link.Start({}, {}))
    for message in opening:
        suspects.heard(message)
    return start


def test_two_suspects_are_told_apart_by_the_second_death() -> None:
    suspects = Suspects()
    start = life(suspects, link.Opening("amdsmi", back=False), link.Opening("nvml", back=False))
    assert not start.one_by_one
    assert suspects.died(SEGV) == []
    start = life(
        suspects,
        link.Opening("amdsmi", back=False),
        link.Opening("amdsmi", back=True),
        link.Opening("nvml", back=False),
    )
    assert start.one_by_one
    assert suspects.died(SEGV) == ["nvml"]
    start = life(suspects)
    assert list(start.left_out) == ["nvml"] == list(start.wary)
    assert "SIGSEGV" in start.left_out["nvml"]


def test_a_death_with_nothing_being_opened_blames_nobody() -> None:
    suspects = Suspects()
    for _ in range(5):
        life(suspects, link.Opening("nvml", back=False), link.Opening("nvml", back=True))
        assert suspects.died(SEGV) == []
    assert life(suspects) == link.Start({}, {})


def test_what_crashes_again_at_the_later_look_is_left_out_at_once() -> None:
    suspects = Suspects()
    for _ in range(3):
        life(suspects, link.Opening("nvml", back=False))
        suspects.died(0)
    assert "exit status 0" in suspects.left_out["nvml"]
    life(suspects, link.Opening("nvml", back=False), link.Opening("nvml", back=True))
    assert suspects.left_out == {}


def test_what_was_found_is_not_looked_for_at_once_again_until_it_lasted() -> None:
    suspects = Suspects()
    suspects.ended_anew(("rapl_powercap",))
    assert life(suspects).wary == ("rapl_powercap",)
    suspects.lived_long()
    assert life(suspects).wary == ()
