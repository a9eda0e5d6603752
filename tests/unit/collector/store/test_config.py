"""Settings of the store."""

from __future__ import annotations

import tomllib
from itertools import pairwise

import pytest

from chipwatt.collector.store.config import DAY_NS, HOUR_NS, StoreConfig, tiers
from chipwatt.core.errors import ConfigError
from chipwatt.core.settings import build, dump


def test_what_is_printed_is_read_back() -> None:
    text = dump(StoreConfig())
    assert build(StoreConfig, tomllib.loads(text), "x") == StoreConfig()
    assert 'retention_raw = "2d"' in text


@pytest.mark.parametrize(
    "table", [{"retention_raw": "31d"}, {"retention_1h": "1d"}, {"follow_least": "2d"}]
)
def test_retentions_that_make_no_sense_are_refused(table: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="at least"):
        build(StoreConfig, table, "x")


def test_every_file_holds_whole_slots_of_the_next_tier() -> None:
    made = tiers(StoreConfig())
    for finer, coarser in pairwise(made):
        assert finer.file_ns % coarser.slot_ns == 0
        assert coarser.file_ns % finer.file_ns == 0
        assert coarser.slot_ns % coarser.resolution_ns == 0
        assert coarser.slot_ns % finer.slot_ns == 0
    assert made[0].file_start(5 * DAY_NS + 7 * HOUR_NS) == 5 * DAY_NS
