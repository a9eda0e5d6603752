from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipwatt.collector.config import CollectorConfig, TlsConfig, default_state_dir
from chipwatt.collector.store.config import StoreConfig
from chipwatt.core import settings
from chipwatt.core.addresses import is_loopback, split_address
from chipwatt.core.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "packaging" / "config" / "collector.toml"
TLS = TlsConfig(Path("ca.pem"), Path("cert.pem"), Path("key.pem"))


def loaded(text: str) -> CollectorConfig:
    return settings.build(CollectorConfig, tomllib.loads(text), "c.toml")


def test_defaults_keep_to_this_machine() -> None:
    config = CollectorConfig()
    assert config.listen == "127.0.0.1:9733"
    assert not config.tls.is_set
    assert config.otlp.endpoint == ""


def test_a_user_without_rights_gets_a_state_directory_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert default_state_dir(tmp_path / "chipwatt") == tmp_path / "chipwatt"
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert default_state_dir(Path("/proc/none/chipwatt")) == Path("/home/me/state/chipwatt")
    monkeypatch.delenv("XDG_STATE_HOME")
    own = Path.home() / ".local/state/chipwatt"
    assert default_state_dir(Path("/proc/none/chipwatt")) == own


def test_the_store_follows_the_state_directory_unless_it_is_put_elsewhere() -> None:
    config = CollectorConfig(state_dir=Path("/s"))
    assert config.store_config().path == Path("/s/store")
    moved = replace(config, store=StoreConfig(path=Path("/big/disk")))
    assert moved.store_config().path == Path("/big/disk")


@pytest.mark.parametrize("listen", ["0.0.0.0:9733", "[::]:9733", "10.0.0.7:1", "collector.lan:1"])
def test_the_network_needs_tls_or_so_many_words(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"c\.toml: listen: .*without TLS") as refused:
        loaded(f'listen = "{listen}"')
    assert "insecure_plaintext_over_network = true" in str(refused.value)
    assert loaded(f'listen = "{listen}"\ninsecure_plaintext_over_network = true').listen == listen
    tls = '[tls]\nca = "ca.pem"\ncert = "cert.pem"\nkey = "key.pem"'
    assert loaded(f'listen = "{listen}"\n{tls}').tls == TLS


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.9.9.9:1", "[::1]:9733", "localhost:65535"])
def test_loopback_does_not(listen: str) -> None:
    assert loaded(f'listen = "{listen}"').listen == listen


@pytest.mark.parametrize("listen", ["", "9733", ":9733", "127.0.0.1", "127.0.0.1:x", "::1:9733",
                                    "127.0.0.1:70000", "127.0.0.1:-1", "127.0.0.1:٣"])  # fmt: skip
def test_what_is_no_address(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"c\.toml: listen: "):
        loaded(f'listen = "{listen}"')


def test_half_of_tls_is_refused() -> None:
    with pytest.raises(ConfigError, match="ca, cert and key go together"):
        loaded('[tls]\nca = "ca.pem"')


def test_an_unknown_key_is_named_with_the_right_one() -> None:
    with pytest.raises(ConfigError, match="unknown key 'topologie'; did you mean 'topology'"):
        loaded('topologie = "x"')


@given(st.text(max_size=30))
def test_no_address_makes_a_traceback(text: str) -> None:
    try:
        host, port = split_address(text)
    except ValueError:
        return
    assert host
    assert 0 <= port <= 65_535
    assert is_loopback(host) in (True, False)


def test_printed_settings_read_back_the_same() -> None:
    config = CollectorConfig(
        listen="10.0.0.7:1", state_dir=Path("/s"), topology=Path("t.toml"), tls=TLS
    )
    assert loaded(settings.dump(config)) == config


def test_the_shipped_example_says_the_defaults() -> None:
    example = settings.load(CollectorConfig, EXAMPLE)
    assert replace(example, state_dir=CollectorConfig().state_dir) == CollectorConfig()


@pytest.mark.parametrize("cadence", ["0s", "1s", "10s", "60s"])
def test_a_cadence_is_whole_seconds_up_to_a_minute(cadence: str) -> None:
    assert loaded(f'cadence = "{cadence}"').cadence == settings.duration(cadence)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('cadence = "500ms"', "cadence: whole seconds"),
        ('cadence = "61s"', "cadence: whole seconds"),
        ("max_streams = 0", "max_streams is at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(text)
