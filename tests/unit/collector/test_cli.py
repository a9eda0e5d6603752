from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import pytest

from chipwatt.collector import cli
from chipwatt.collector.config import CollectorConfig
from chipwatt.core import settings


def test_prints_the_settings_in_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text('listen = "127.0.0.1:1"\n[store]\nretention_raw = "1d"\n')
    options = ["--config", str(tmp_path / "c.toml"), "--state-dir", str(tmp_path), "--print-config",
               "--listen", "[::1]:7", "--otlp-endpoint", "http://sink:4317"]  # fmt: skip
    assert cli.main(options) == 0
    table = tomllib.loads(capsys.readouterr().out)
    config = settings.build(CollectorConfig, table, "printed")
    assert config.listen == "[::1]:7"
    assert config.store.path == tmp_path / "store"
    assert config.store.retention_raw == settings.duration("1d")
    assert config.otlp.endpoint == "http://sink:4317"


def test_check_reads_the_topology(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.toml"
    path.write_text('[[node]]\nid = "s"\nkind = "site"\n')
    assert cli.main(["--check", "--topology", str(path)]) == 0
    assert capsys.readouterr().out == "ok\n"
    path.write_text('[[node]]\nid = "s"\nkind = "sit"\n')
    assert cli.main(["--check", "--topology", str(path)]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"chipwatt collector: {path}:2: node 's': kind 'sit' is not one of")
    assert err.endswith("did you mean 'site'?\n")


def test_check_reads_the_tls_files_of_receivers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'[otlp]\nendpoint = "https://a:4317"\ntls_ca = "{config}"\n')
    assert cli.main(["--check", "--config", str(config)]) == 78
    assert "no PEM file of certificates" in capsys.readouterr().err


def test_check_reads_the_tls_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text('[tls]\nca = "/no/ca"\ncert = "/no/c"\nkey = "/no/k"\n')
    assert cli.main(["--check", "--config", str(tmp_path / "c.toml")]) == 78
    assert "/no/ca: TLS file cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "0.0.0.0:1"], "command line: listen: 0.0.0.0:1 can be reached"),
        (["--listen", "nowhere"], "command line: listen: 'nowhere' is not of the form"),
        (["--otlp-endpoint", "ftp://x"], "command line: endpoint 'ftp://x' is not"),
        (["--config", "/no/such.toml"], "/no/such.toml: cannot be read: No such file"),
    ],
)
def test_faults_are_one_sentence(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*options, "--check"]) == 78
    err = capsys.readouterr().err
    assert err.startswith(f"chipwatt collector: {words}")
    assert err.count("\n") == 1


def test_is_a_command_of_chipwatt() -> None:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers(dest="command"))
    args = parser.parse_args(["collector", "--listen", "127.0.0.1:5", "--announce"])
    assert (args.command, args.listen, args.announce) == ("collector", "127.0.0.1:5", True)


def test_check_warns_of_hosts_without_nameplate_beneath_a_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "topology.toml"
    host = '[[node]]\nid = "n1"\nkind = "host"\nparents = ["hall"]\n'
    path.write_text('[[node]]\nid = "hall"\nkind = "site"\nbudget = "1kW"\n' + host)
    assert cli.main(["--check", "--topology", str(path)]) == 0
    told = capsys.readouterr()
    assert "warning: hosts beneath a budget without rated power: 1 (n1)" in told.err
    assert told.out == "ok\n"
    path.write_text(path.read_text() + 'rated = "700W"\n')
    assert cli.main(["--check", "--topology", str(path)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('state_dir = ""', "state_dir: a path expected"),
        ('[store]\nretention_raw = "0s"', "a retention of 0 keeps nothing"),
    ],
)
def test_check_refuses_what_cannot_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    assert cli.main(["--check", "--config", str(path)]) == 78
    assert message in capsys.readouterr().err
