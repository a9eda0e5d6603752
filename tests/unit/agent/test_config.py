from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from chipwatt.agent import config as configs
from chipwatt.agent.config import AgentConfig, default_state_dir
from chipwatt.agent.sensing import registry
from chipwatt.core import settings
from chipwatt.core.errors import ConfigError

THREE_FILES = "[tls]\nca = '{0}'\ncert = '{0}'\nkey = '{0}'"
ELSEWHERE = "collector = '10.0.0.1:9733'\n"


def written(directory: Path, text: str) -> Path:
    path = directory / "agent.toml"
    path.write_text(text)
    return path


def test_what_is_printed_loads_again_and_means_the_same(tmp_path: Path) -> None:
    printed = settings.dump(configs.complete(configs.load(None), "defaults"))
    path = written(tmp_path, printed)
    again = configs.complete(configs.load(path), str(path))
    assert again == configs.complete(configs.load(None), "defaults")
    assert settings.dump(again) == printed
    assert set(tomllib.loads(printed)["sources"]) == set(registry.load())


def test_every_setting_is_explained() -> None:
    printed = settings.dump(configs.complete(AgentConfig(), "defaults"))
    lines = printed.splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line and not line.startswith(("#", "[")) and not before.startswith("#")
    ]
    assert bare == []


def test_options_win_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "collector = 'localhost:1'\nstate_dir = '/nowhere'")
    config = configs.load(path, "127.0.0.1:2", tmp_path)
    assert config.collector == "127.0.0.1:2"
    assert config.state_dir == tmp_path
    assert config.status_path == tmp_path / "status.json"
    assert configs.load(path).collector == "localhost:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colector = 'a:1'", "did you mean 'collector'"),
        ("[source.nvml]", "did you mean 'sources'"),
        ("sources = 3", "sources is a table"),
        ("[spool]\nquota = '1MiB'\nsegment = '1MiB'", "spool: quota is at least four times"),
        ("[tls]\ncrt = 'x'", "tls: unknown key 'crt'; did you mean 'cert'"),
        ("[tls]\nca = 'x'", "tls: ca, cert and key go together"),
        ("[sensing]\nwindow = '1ms'", "window must be between"),
        ("[log]\nlevel = 'loud'", "is none of debug, info"),
        (ELSEWHERE, "plain text leaves this host only on purpose"),
        ("collector = 'http://host:1'", "is no address"),
        ("collector = 'host'", "is no address"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configs.load(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[sources.nvmll]", "no source is called 'nvmll'; did you mean 'nvml'"),
        ("[sources.estimate]\nzzz = 1", "unknown key 'zzz'"),
        ("[sources]\nestimate = 3", "sources.estimate is a table"),
        ("[sensing]\nsources = ['nope']", "no source is called 'nope'"),
    ],
)
def test_sources_are_checked_when_asked_for(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=message):
        configs.complete(configs.load(path), str(path))


def test_plain_text_over_a_network_on_purpose(tmp_path: Path) -> None:
    text = ELSEWHERE + "[uplink]\ninsecure_plaintext_over_network = true"
    assert configs.load(written(tmp_path, text)).collector == "10.0.0.1:9733"
    encrypted = configs.load(written(tmp_path, ELSEWHERE + THREE_FILES.format("x.pem")))
    assert encrypted.tls.ca == Path("x.pem")


def test_every_endpoint_is_held_to_what_the_collector_is(tmp_path: Path) -> None:
    local = "[failover]\nendpoints = ['localhost:1', '[::1]:2']"
    assert configs.load(written(tmp_path, local)).failover.endpoints == ("localhost:1", "[::1]:2")
    with pytest.raises(ConfigError, match=r"collector 10\.0\.0\.1:9733: plain text leaves"):
        configs.load(written(tmp_path, "[failover]\nendpoints = ['10.0.0.1:9733']"))
    with pytest.raises(ConfigError, match="'nowhere' is no address"):
        configs.load(written(tmp_path, "[failover]\nendpoints = ['nowhere']"))


def test_zstd_without_its_package_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "[uplink]\ncompression = 'zstd'")
    assert configs.load(path).uplink.compression == "zstd"
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError, match="pip install zstandard"):
        configs.load(path)


def test_state_goes_where_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_state_dir(tmp_path / "chipwatt") == tmp_path / "chipwatt"
    monkeypatch.setenv("XDG_STATE_HOME", "/home/someone/state")
    not_ours = Path("/proc/1/chipwatt")
    assert default_state_dir(not_ours) == Path("/home/someone/state/chipwatt")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_state_dir(not_ours) == Path("/home/someone/.local/state/chipwatt")


def agent(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chipwatt.agent", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


def test_the_command_prints_and_checks(tmp_path: Path) -> None:
    printed = agent("--print-config", "--state-dir", str(tmp_path), "--collector", "[::1]:5")
    assert printed.returncode == 0, printed.stderr
    path = written(tmp_path, printed.stdout)
    again = agent("--print-config", "--config", str(path))
    assert again.stdout == printed.stdout
    checked = agent("--check", "--config", str(path))
    assert checked.returncode == 0
    assert checked.stdout == f"{path}: right; spool in {tmp_path}, collector [::1]:5\n"
    assert checked.stderr == ""


def test_the_command_refuses_in_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, "colector = 'a:1'")
    refused = agent("--config", str(path))
    assert refused.returncode == 78
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"chipwatt agent: {path}: unknown key 'colector'")
    path = written(tmp_path, THREE_FILES.format(f"{tmp_path}/no.pem"))
    refused = agent("--check", "--config", str(path))
    assert (refused.returncode, refused.stdout) == (78, "")
    assert "no.pem: TLS file cannot be read: No such file or directory" in refused.stderr
    (tmp_path / "file").write_text("")
    refused = agent("--state-dir", str(tmp_path / "file"))
    assert refused.returncode == 74
    assert len(refused.stderr.splitlines()) == 1
    assert "Not a directory" in refused.stderr
