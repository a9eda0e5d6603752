"""Settings that cannot work are refused when they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.collector.otlp.config import HTTP, Destination, OtlpConfig
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
        ({"headers": ["Host=elsewhere"]}, "'host' is the exporter's own"),
        ({"headers": ["content-length=5"]}, "exporter's own"),
        ({"endpoint": "http://a:1", "tls_ca": "/ca.pem"}, "https://"),
        ({"endpoint": "http://a:1", "tls_cert": "/c.pem", "tls_key": "/k.pem"}, "https://"),
        ({"endpoint": "https://a:1", "tls_cert": "/c.pem"}, "go together"),
        ({"protocol": "thrift"}, "grpc, http/protobuf"),
        ({"endpoint": "http://a b/", "protocol": "http/protobuf"}, "http://host:4318/v1/metrics"),
        ({"endpoint": "http://u@a/", "protocol": "http/protobuf"}, "http://host:4318/v1/metrics"),
        ({"endpoint": "http://a/x\r\ny", "protocol": "http/protobuf"}, "http://host:4318"),
        ({"destination": [{"name": "a"}]}, "'a' has no endpoint"),
        ({"destination": [{"endpoint": "http://a:1"}]}, "name '' is taken or not"),
        ({"destination": [{"name": "A/b", "endpoint": "http://a:1"}]}, "of a-z, 0-9"),
        ({"destination": [{"name": "a", "endpoint": "http://a:1"}] * 2}, "name 'a' is taken"),
        ({"destination": [{"nam": "a"}]}, "destination: unknown key 'nam'"),
        ({"destination": {"name": "a"}}, "is an array of tables"),
        ({"destination": ["a"]}, "destination is a table, got 'a'"),
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


@pytest.mark.parametrize(
    ("endpoint", "address", "path"),
    [
        ("http://vm.example", ("vm.example", 4318), "/v1/metrics"),
        ("https://vm.example/", ("vm.example", 4318), "/v1/metrics"),
        ("https://vm.example/otlp/v1/metrics", ("vm.example", 443), "/otlp/v1/metrics"),
        ("http://vm.example/x?tenant=7", ("vm.example", 80), "/x?tenant=7"),
        ("http://[::1]:9090/api/v1/otlp/v1/metrics", ("::1", 9090), "/api/v1/otlp/v1/metrics"),
    ],
)
def test_urls_of_http(endpoint: str, address: tuple[str, int], path: str) -> None:
    one = Destination(endpoint=endpoint, protocol=HTTP)
    assert (one.address(), one.path()) == (address, path)


def test_several_destinations_and_the_plain_form(tmp_path: Path) -> None:
    file = tmp_path / "collector.toml"
    file.write_text(
        """
        endpoint = "http://a:1"
        headers = ["k=v"]
        [[destination]]
        name = "vm"
        endpoint = "https://b/otlp/v1/metrics"
        protocol = "http/protobuf"
        timeout = "3s"
        [[destination]]
        name = "archive-2"
        endpoint = "http://c:4317"
        """
    )
    config = settings.load(OtlpConfig, file)
    plain, vm, archive = config.destinations()
    assert (plain.name, plain.endpoint, plain.metadata()) == ("", "http://a:1", (("k", "v"),))
    assert (vm.name, vm.timeout, vm.is_tls()) == ("vm", 3 * 10**9, True)
    assert (archive.name, archive.target()) == ("archive-2", "c:4317")
    file.write_text(settings.dump(config))
    assert settings.load(OtlpConfig, file) == config
    assert OtlpConfig().destinations() == ()
