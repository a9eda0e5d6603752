"""Settings that cannot work are refused when they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.collector.otlp.config import OtlpConfig
from chipwatt.core import settings
from chipwatt.core.errors import ConfigError


@pytest.mark.parametrize(
    ("endpoint", "target", "is_tls"),
    [
        ("http://otel.example:4317", "otel.example:4317", False),
        ("https://otel.example", "otel.example:4317", True),
        ("http://[::1]:14317/", "[::1]:14317", False),
    ],
)
def test_endpoint_forms(endpoint: str, target: str, is_tls: bool) -> None:
    config = OtlpConfig(endpoint=endpoint)
    assert (config.target(), config.is_tls()) == (target, is_tls)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"endpoint": "otel.example:4317"}, "http://host:4317"),
        ({"endpoint": "http://otel.example:99999"}, "endpoint"),
        ({"endpoint": "http://otel.example/v1/metrics"}, "http://host:4317"),
        ({"interval": "10ms"}, "interval is shorter than 1s"),
        ({"timeout": "0s"}, "timeout"),
        ({"start": "yesterday"}, "newest, oldest"),
        ({"compression": "zstd"}, "gzip, none"),
        ({"headers": ["no-value"]}, "name=value"),
        ({"headers": ["bad name=1"]}, "name=value"),
        ({"headers": ["grpc-timeout=1"]}, "cannot be sent"),
        ({"headers": ["key=a\nb"]}, "cannot be sent"),
        ({"endpoint": "http://a:1", "tls_ca": "/ca.pem"}, "https://"),
        ({"endpont": "http://a:1"}, "did you mean 'endpoint'"),
    ],
)
def test_refusals_say_what_is_right(table: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        settings.build(OtlpConfig, table, "collector.toml: otlp")


def test_headers_become_metadata() -> None:
    config = OtlpConfig(headers=("X-Api-Key = a=b",))
    assert config.metadata() == (("x-api-key", "a=b"),)


def test_a_dump_reads_back(tmp_path: Path) -> None:
    config = OtlpConfig(endpoint="http://otel.example:4317", headers=("a=b",))
    file = tmp_path / "otlp.toml"
    file.write_text(settings.dump(config))
    assert settings.load(OtlpConfig, file) == config
