"""What is put together for each tier of egress."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chipwatt.collector.config import CollectorConfig
from chipwatt.collector.egress.config import PrivacyConfig
from chipwatt.collector.exports import WorkloadsOut, chip_exports, plain_text_warnings
from chipwatt.collector.otlp.config import OtlpConfig
from chipwatt.collector.prometheus.config import PrometheusConfig
from chipwatt.collector.store.config import StoreConfig
from chipwatt.collector.store.sqlite_store import SqliteStore
from chipwatt.core.clock import NS_PER_S, SystemClock
from chipwatt.core.settings import Duration


@pytest.mark.parametrize("egress", ["confidential", "dp", "operator"])
def test_one_export_of_chips_and_one_of_workloads_a_destination(
    egress: str, tmp_path: Path
) -> None:
    config = CollectorConfig(
        state_dir=tmp_path,
        privacy=PrivacyConfig(egress=egress),
        otlp=OtlpConfig(endpoint="http://127.0.0.1:4317"),
    )
    store = SqliteStore(replace(StoreConfig(), path=tmp_path / "store"))
    workloads = WorkloadsOut(config, store, SystemClock())
    assert [export.name for export in chip_exports(config, store, SystemClock())] == ["otlp"]
    named = list(workloads.work())
    for _, work in named:
        work.close()
    assert [name for name, _ in named] == ["workloads to default"]
    assert (tmp_path / "privacy.sqlite").exists() == (egress == "dp")
    workloads.close()
    store.close()


def test_nothing_finer_than_a_minute_but_for_an_operator() -> None:
    fine = OtlpConfig(endpoint="http://127.0.0.1:4317", interval=Duration(90 * NS_PER_S))
    with pytest.raises(ValueError, match=r"otlp\.interval: whole minutes"):
        CollectorConfig(otlp=fine)
    with pytest.raises(ValueError, match=r"otlp\.interval: whole minutes"):
        CollectorConfig(
            otlp=OtlpConfig(interval=Duration(NS_PER_S)),
            prometheus=PrometheusConfig(listen="127.0.0.1:9734"),
            privacy=PrivacyConfig(egress="dp"),
        )
    CollectorConfig(otlp=fine, privacy=PrivacyConfig(egress="operator"))
    CollectorConfig(otlp=replace(fine, endpoint=""))


def test_plain_text_to_another_machine_is_told() -> None:
    here, far, safe = "http://[::1]:4317", "http://192.0.2.5:4317", "https://192.0.2.5:4317"
    told = [
        plain_text_warnings(CollectorConfig(otlp=OtlpConfig(endpoint=endpoint)))
        for endpoint in (here, far, safe, "")
    ]
    assert [len(warnings) for warnings in told] == [0, 1, 0, 0]
    assert "http://192.0.2.5:4317: what leaves can be read on its way" in told[1][0]
