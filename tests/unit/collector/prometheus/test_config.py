from __future__ import annotations

import pytest

from chipwatt.collector.prometheus.config import PrometheusConfig


def test_nothing_is_served_unless_asked_for() -> None:
    assert PrometheusConfig().listen == ""


@pytest.mark.parametrize("listen", ["127.0.0.1:9734", "[::1]:0", "localhost:1"])
def test_loopback_needs_no_word(listen: str) -> None:
    PrometheusConfig(listen=listen)


@pytest.mark.parametrize("listen", ["0.0.0.0:9734", "[::]:9734", "192.0.2.1:9734", "box:9734"])
def test_the_network_must_be_allowed_by_name(listen: str) -> None:
    with pytest.raises(ValueError, match="open_to_the_network = true"):
        PrometheusConfig(listen=listen)
    PrometheusConfig(listen=listen, open_to_the_network=True)


def test_what_is_no_address_or_number_is_refused() -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        PrometheusConfig(listen="9734")
    with pytest.raises(ValueError, match="max_series is at least 1"):
        PrometheusConfig(max_series=0)
