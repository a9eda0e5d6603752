"""Puts the exports to OTLP receivers together, under the tier of ``[privacy]``."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Mapping
from importlib import metadata
from typing import Any

from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.egress.budget import Budget
from chipwatt.collector.egress.config import Tier
from chipwatt.collector.egress.noise import discrete_laplace
from chipwatt.collector.egress.workloads import Noisy, confidential
from chipwatt.collector.otlp.export import Exporter
from chipwatt.collector.otlp.sender import Sender
from chipwatt.collector.otlp.workloads import Policy, WorkloadEncoder, WorkloadExport
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.addresses import is_loopback
from chipwatt.core.clock import Clock


def chip_exports(config: CollectorConfig, store: SqliteStore, clock: Clock) -> list[Exporter]:
    """Return the exports of chips and hosts, one a destination. Raises ConfigError."""
    folder, tier = config.store_config().path / "otlp", config.privacy.tier
    return [
        Exporter(store, config.otlp, destination, clock=clock, tier=tier, folder=folder)
        for destination in config.otlp.destinations()
    ]


def plain_text_warnings(config: CollectorConfig) -> list[str]:
    """Return a sentence for each receiver to which metrics travel in plain text."""
    return [
        f"otlp: {each.endpoint}: what leaves can be read on its way, headers too; "
        "use https://, or a receiver on this machine that passes it on"
        for each in config.otlp.destinations()
        if not each.is_tls() and not is_loopback(each.address()[0])
    ]


class WorkloadsOut:
    """The exports of workloads, one a destination, and one budget for all.

    Making it raises ChipwattError.
    """

    def __init__(self, config: CollectorConfig, store: SqliteStore, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._folder = config.store_config().path / "otlp"
        self._budget: Budget | None = None
        self._noise = discrete_laplace() if config.privacy.tier is Tier.DP else None
        if self._noise is not None:
            path = config.state_dir / "privacy.sqlite"
            has_exported = any(self._folder.glob("*.workloads"))
            lost_unix_ns = clock.unix_ns() if has_exported else None
            self._budget = Budget(path, config.privacy.dp_daily_epsilon, lost_unix_ns)

    def work(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield what is to run, with its name."""
        config = self._config
        encoder = WorkloadEncoder(
            version=metadata.version("chipwatt"),
            namespace=config.otlp.namespace,
            tier=config.privacy.tier,
        )
        for destination in config.otlp.destinations():
            name = destination.name or "default"
            export = WorkloadExport(
                self._store.workloads,
                self._policy(),
                encoder,
                Sender(destination),
                self._names,
                self._folder / f"{name}.workloads",
            )
            yield f"workloads to {name}", export.run()

    def close(self) -> None:
        """Close the budget's books."""
        if self._budget is not None:
            self._budget.close()

    def _policy(self) -> Policy:
        if self._budget is None or self._noise is None:
            return confidential
        return Noisy(self._budget, self._noise, self._clock.unix_ns).told

    def _names(self) -> Mapping[bytes, str]:
        return {host.host: host.name for host in self._store.hosts()}
