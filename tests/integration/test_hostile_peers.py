"""The bench of hostile peers, short: nobody who is served fails, waits long or pays in memory."""

from __future__ import annotations

import pytest

from bench import hostile_peers
from bench.hostile_attacks import ATTACKS


@pytest.fixture(scope="module")
def found() -> dict[str, hostile_peers.Seen]:
    return hostile_peers.measured(1.0, together=True)


def test_who_is_served_does_not_feel_them(found: dict[str, hostile_peers.Seen]) -> None:
    assert found.keys() == ATTACKS.keys()
    # A busy machine may take its time; failures and memory are the collector's own.
    assert [line for line in hostile_peers.broken(found) if " took " not in line] == []
    for name, seen in found.items():
        assert len(seen.acks_s) >= hostile_peers.AGENTS, name
        assert len(seen.answers_s) >= 2, name


@pytest.mark.parametrize(
    ("attack", "outcome"),
    [
        ("empty submessages", "INVALID_ARGUMENT"),
        ("  the same, over size", "INVALID_ARGUMENT"),
        ("  in a batch", "refusal"),
        ("gzip bomb", "RESOURCE_EXHAUSTED"),
        ("900 half-open", "opened 900"),
        ("200 idle streams of one", "RESOURCE_EXHAUSTED"),
        ("asks what it may not", "PERMISSION_DENIED"),
    ],
)
def test_each_attack_met_what_is_there_against_it(
    found: dict[str, hostile_peers.Seen], attack: str, outcome: str
) -> None:
    assert outcome in found[attack].attacker
    assert "OK" not in found[attack].attacker
