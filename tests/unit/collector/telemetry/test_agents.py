from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from chipwatt.collector.prometheus.scrape import Scrape
from chipwatt.collector.telemetry.agents import HOSTS_A_REQUEST, Agents, newest_unix_ns
from chipwatt.core.clock import NS_PER_S
from chipwatt.core.codec import tables_from_records
from chipwatt.core.records import AgentHealth, Records
from fakes.telemetry_records import CPU, GPU, T0_S, a_batch, a_host, a_sensor, a_window

NOW_NS = (T0_S + 30) * NS_PER_S
HEALTH = AgentHealth(
    uptime_s=300,
    cpu_ppm=5_000,
    library_ppm=2_000,
    deadlines=1_000,
    late_deadlines=3,
    transient_errors=2,
    broken_sources=1,
)


def told(agents: Agents, host_name: str = "alpha") -> dict[str, float]:
    """Return what is told of a host, as a page shows it: value by name and label."""
    scrape = Scrape(100_000, lambda: NOW_NS)
    for request in agents.requests({a_host(1): host_name}, NOW_NS):
        scrape.take(request)
    page = scrape.page(is_open_metrics=False, is_gzip=False).decode()
    values = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.labels.get("host_name") == host_name:
                own = sorted(sample.labels.keys() - {"host_id", "host_name"})
                key = " ".join([sample.name, *(sample.labels[label] for label in own)])
                values[key] = sample.value
    return values


def an_agent(*healths: AgentHealth) -> Agents:
    agents = Agents(NOW_NS, version="1")
    for sequence, health in enumerate(healths):
        records = Records(
            windows=(a_window(T0_S, 1_000_000),), sensors=(a_sensor(),), agent=(health,)
        )
        agents.on_commit([a_batch(a_host(1), records, sequence=sequence)])
    return agents


def test_health_becomes_metrics_of_its_host() -> None:
    found = told(an_agent(HEALTH))
    assert found["chipwatt_agent_lag_seconds"] == 20.0
    assert found["chipwatt_agent_cpu_utilization_ratio"] == 0.005
    assert found["chipwatt_agent_library_utilization_ratio"] == 0.002
    assert found["chipwatt_agent_uptime_seconds"] == 300
    assert found["chipwatt_agent_sources_broken"] == 1
    assert found["chipwatt_agent_call_duration_seconds nvml"] == 900e-9


@settings(deadline=None)  # a page is written for each
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=8))
def test_reports_add_up(counts: list[tuple[int, int]]) -> None:
    healths = [AgentHealth(1, 0, 0, due + late, late, late, 0) for due, late in counts]
    found = told(an_agent(*healths))
    assert found["chipwatt_agent_deadlines_total met"] == sum(due for due, _ in counts)
    assert found["chipwatt_agent_deadlines_total late"] == sum(late for _, late in counts)
    assert found["chipwatt_agent_errors_total"] == sum(late for _, late in counts)


def test_an_agent_that_says_nothing_of_itself_has_its_lag_only() -> None:
    agents = Agents(NOW_NS, version="1")
    agents.on_commit([a_batch(a_host(1), Records(windows=(a_window(T0_S, 1),)))])
    assert told(agents) == {"chipwatt_agent_lag_seconds": 20.0}


def test_a_batch_is_as_new_as_its_newest_row() -> None:
    windows = (a_window(T0_S + 40, 1, device=CPU), a_window(T0_S, 1, device=GPU))
    tables = tables_from_records(Records(windows=windows))
    assert newest_unix_ns(tables) == (T0_S + 50) * NS_PER_S
    assert newest_unix_ns(tables_from_records(Records(sensors=(a_sensor(),)))) is None


def test_a_fleet_goes_out_in_requests_of_bounded_size() -> None:
    agents = Agents(NOW_NS, version="1")
    for number in range(HOSTS_A_REQUEST + 1):
        agents.on_commit([a_batch(a_host(number), Records(windows=(a_window(T0_S, 1),)))])
    sizes = [len(request.resource_metrics) for request in agents.requests({}, NOW_NS)]
    assert sizes == [HOSTS_A_REQUEST, 1]
