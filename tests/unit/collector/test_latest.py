from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.latest import Latest, device_ids
from chipwatt.collector.store.contract import HostRow
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import tables_from_records
from chipwatt.core.model import Domain
from chipwatt.core.records import Records
from fakes.telemetry_records import CPU, GPU, T0_S, a_batch, a_host, a_second, a_window, steady

H1, H2 = a_host(1), a_host(2)


def row(host: bytes, name: str = "", seen_s: int = T0_S) -> HostRow:
    return HostRow(host, name, 0, seen_s * NS_PER_S, 1, 0)


def test_keeps_the_newest_window_of_each_domain() -> None:
    latest = Latest()
    old, new = a_window(T0_S, 10), a_window(T0_S + 10, 20)
    core = a_window(T0_S, 5, device=CPU, domain=Domain.CORE)
    package = a_window(T0_S, 9, device=CPU, domain=Domain.PACKAGE)
    latest.on_commit([a_batch(H1, Records(windows=(new, core, package)))])
    latest.on_commit([a_batch(H1, Records(windows=(old,)), sequence=2)])
    assert latest.windows(H1) == [package, core, new]
    assert latest.windows(H2) == []


def test_keeps_the_newest_host_second_and_when_it_heard() -> None:
    latest = Latest()
    late, early = a_second(T0_S + 1, 7), a_second(T0_S, 5)
    latest.on_commit([a_batch(H1, Records(host_seconds=(late, early)), received_s=T0_S + 9)])
    latest.on_commit([a_batch(H1, Records(host_seconds=(early,)), received_s=T0_S + 5)])
    assert latest.host_second(H1) == late
    assert latest.heard_unix_ns(H1) == (T0_S + 9) * NS_PER_S
    assert latest.host_second(H2) is None
    assert latest.heard_unix_ns(H2) == 0


def test_a_host_is_found_by_id_and_by_name() -> None:
    latest = Latest()
    latest.on_commit([a_batch(H1, Records())])
    latest.learn([row(H2, "node-2")])
    before = latest.membership
    latest.learn([row(H2, "node-2")])
    assert latest.membership == before
    assert latest.hosts() == [(H1, ""), (H2, "node-2")]
    assert latest.resolve(H1.hex()) == H1
    assert latest.resolve("node-2") == H2
    assert latest.resolve("node-3") is None
    assert latest.resolve(a_host(3).hex()) is None
    assert latest.resolve("") is None


def test_states_of_hosts_known_and_unknown() -> None:
    latest = Latest()
    latest.on_commit([a_batch(H2, steady(T0_S, [(5, 6), (7, 8)]))])
    states = latest.states([None, H1, H2], (T0_S + 1) * NS_PER_S)
    assert states.rows.tolist() == [-1, -1, 0]
    assert states.newest_s.tolist() == [0, 0, T0_S + 1]
    assert states.held.tolist() == [0, 0, 2]


def test_devices_of_a_payload() -> None:
    records = Records(windows=(a_window(T0_S, 1), a_window(T0_S, 1, device=CPU)))
    assert device_ids(tables_from_records(records)) == [GPU, CPU]
    assert device_ids({}) == []


@given(
    st.lists(
        st.tuples(st.sampled_from([H1, H2]), st.integers(0, 900), st.integers(0, 9), st.booleans()),
        max_size=40,
    )
)
def test_however_batches_come_the_newest_wins(
    sent: list[tuple[bytes, int, int, bool]],
) -> None:
    latest, newest = Latest(), dict[tuple[bytes, object], int]()
    for number, (host, second, energy, is_cpu) in enumerate(sent):
        device = CPU if is_cpu else GPU
        window = a_window(T0_S + second, energy, device=device)
        latest.on_commit([a_batch(host, Records(windows=(window,)), sequence=number)])
        newest[host, device] = max(newest.get((host, device), 0), T0_S + second)
    for host in (H1, H2):
        got = {(host, w.device): w.start_unix_ns // NS_PER_S for w in latest.windows(host)}
        assert got == {key: second for key, second in newest.items() if key[0] == host}
