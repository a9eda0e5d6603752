"""The order in which addresses of one collector are tried."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.agent.endpoints import Endpoints, FailoverConfig
from chipwatt.core.settings import Duration

ADDRESSES = st.lists(st.from_regex(r"[a-z]{1,5}:\d{1,4}", fullmatch=True), min_size=1, unique=True)
EVENTS = st.lists(st.sampled_from(["failed", "welcomed", "go_back"]), max_size=30)


@given(ADDRESSES, EVENTS)
def test_after_a_welcome_every_address_fails_once_before_a_round_is_over(
    addresses: list[str], events: list[str]
) -> None:
    endpoints = Endpoints(addresses)
    for event in events:
        getattr(endpoints, event)()
    endpoints.welcomed()
    tried = [endpoints.current]
    while not endpoints.failed():
        tried.append(endpoints.current)
    assert sorted(tried) == sorted(addresses)
    assert endpoints.current == addresses[0]
    rounds = [(endpoints.current, endpoints.failed()) for _ in addresses]
    assert rounds == [(one, one == addresses[-1]) for one in addresses]


@given(ADDRESSES, EVENTS)
def test_going_back_is_to_the_first_choice(addresses: list[str], events: list[str]) -> None:
    endpoints = Endpoints(addresses)
    for event in events:
        getattr(endpoints, event)()
    endpoints.go_back()
    assert endpoints.current == endpoints.first_choice == addresses[0]


@given(ADDRESSES, st.binary(min_size=16, max_size=16))
def test_a_hosts_own_order_is_complete_and_stays(addresses: list[str], host_id: bytes) -> None:
    first, *others = addresses
    shuffled = FailoverConfig(tuple(others), shuffled=True)
    assert sorted(shuffled.order(first, host_id)) == sorted(addresses)
    assert shuffled.order(first, host_id) == shuffled.order(first, host_id)
    assert FailoverConfig(tuple(others)).order(first, host_id) == addresses


def test_hosts_spread_over_shuffled_addresses() -> None:
    config = FailoverConfig(("b:1", "c:1"), shuffled=True)
    firsts = [config.order("a:1", bytes([n]) * 16)[0] for n in range(200)]
    assert all(firsts.count(address) > 40 for address in ("a:1", "b:1", "c:1"))


def test_the_collector_itself_among_its_endpoints_is_one() -> None:
    order = FailoverConfig(("a:1", "b:1")).order("a:1", b"")
    assert order == ["a:1", "b:1"]
    assert all(one != other for one, other in pairwise(order))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"return_after": Duration(0)}, "return_after"), ({"endpoints": ("a:1", "a:1")}, "twice")],
)
def test_impossible_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FailoverConfig(**changes)  # type: ignore[arg-type]
