"""A first set-up by hand: an authority, bundles from it, and faults as sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chipwatt.cli import main
from chipwatt.core.authority import Authority
from chipwatt.core.certificate import Holder, holder_of, read_certificate
from chipwatt.core.tls import TlsFiles, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "authority"
    assert main.run(["certs", "init", "--dir", str(made), "--domain", "test.example"]) == 0
    return made


def certs(*args: object) -> int:
    return main.run(["certs", *map(str, args)])


def test_a_bundle_can_be_used_and_renewed_in_place(folder: Path) -> None:
    assert certs("issue", "agent", "node-1", "--dir", folder) == 0
    made = folder / "issued" / "agent" / "node-1"
    before = read(TlsFiles.in_bundle(made))
    assert certs("renew", made, "--dir", folder, "--days", "5") == 0
    after = read(TlsFiles.in_bundle(made))
    assert after.ca == before.ca
    assert after.key != before.key
    assert holder_of(read_certificate(made / "cert.pem")) == Holder(
        "test.example", "agent", "node-1"
    )


def test_a_collectors_addresses_survive_a_renewal(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "main"
    address = ("--address", "collector.example", "--address", "::1")
    assert certs("issue", "collector", "main", *address, "--out", made, "--dir", folder) == 0
    assert certs("renew", made, "--dir", folder) == 0
    capsys.readouterr()
    assert certs("show", made, folder, "--json") == 0
    own, root = json.loads(capsys.readouterr().out)
    assert own["addresses"] == ["collector.example", "::1"]
    assert own["uris"] == ["spiffe://test.example/collector/main"]
    assert (own["days_left"], own["expired"]) == (89, False)
    assert root["uris"] == ["spiffe://test.example"]
    assert certs("show", made) == 0
    assert "spiffe://test.example/collector/main" in capsys.readouterr().out


def test_while_the_authority_changes_both_can_be_trusted(folder: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    assert certs("init", "--dir", newer, "--domain", "test.example") == 0
    assert certs("issue", "agent", "node-1", "--dir", folder) == 0
    made = folder / "issued" / "agent" / "node-1"
    assert certs("renew", made, "--dir", newer, "--trust", folder / "ca.pem") == 0
    trusted = (made / "ca.pem").read_bytes()
    assert trusted == (newer / "ca.pem").read_bytes() + (folder / "ca.pem").read_bytes()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["issue", "wizard", "x"], "'wizard' is no role"),
        (["issue", "agent", "a/b"], "no name for a certificate"),
        (["issue", "collector", "main"], "give --address"),
        (["issue", "agent", "x", "--days", "0"], "1 to 36500 days"),
        (["init"], "kept here already"),
        (["renew", "/nowhere"], "/nowhere/cert.pem: cannot be read"),
    ],
)
def test_faults_are_sentences(
    folder: Path, args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert certs(*args, "--dir", folder) == 65
    assert said in capsys.readouterr().err


def test_an_authority_that_is_not_there_says_how_to_make_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert certs("issue", "agent", "x", "--dir", tmp_path / "no") == 65
    assert f"`chipwatt certs init --dir {tmp_path}/no`" in capsys.readouterr().err


def test_a_bundle_is_not_overwritten_by_an_issue(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert certs("issue", "agent", "x", "--dir", folder) == 0
    assert certs("issue", "agent", "x", "--dir", folder) == 65
    assert "there is a bundle already" in capsys.readouterr().err


def test_a_bundle_of_another_domain_is_not_renewed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Authority.create("other.example").issue(Holder("other.example", "agent", "x")).save(
        tmp_path / "x"
    )
    assert certs("renew", tmp_path / "x", "--dir", folder) == 65
    assert "is of the domain other.example" in capsys.readouterr().err


def test_a_configuration_without_files_has_nothing_to_renew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("")
    assert certs("renew", "--config", config) == 78
    assert f"{config}: no ca, cert and key under [tls]" in capsys.readouterr().err
    config.write_text('[tls]\nca = "a"\ncert = "/nowhere/c"\nkey = "b"\n')
    assert certs("renew", "--config", config, "--within", "30d") == 65
    assert "/nowhere/c: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("args", [[], ["bundle", "--config", "file"]])
def test_one_thing_is_renewed_at_a_time(args: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        certs("renew", *args)
    assert raised.value.code == 2


@pytest.mark.parametrize("given", [("--dir", "here"), ("--days", "5"), ("--trust", "ca.pem")])
@pytest.mark.parametrize("asked", [("--config", "/no.toml"), ("x", "--collector", "[::1]:1")])
def test_who_asks_a_collector_does_not_say_how_it_issues(
    given: tuple[str, ...], asked: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert certs("renew", *asked, *given) == 65
    said = capsys.readouterr().err
    assert f"{given[0]}: what {asked[-2]} renews a collector issues" in said
    assert said.count("\n") == 1


def test_days_that_are_none_are_refused_where_days_may_be_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert certs("issue", "agent", "x", "--dir", folder) == 0
    assert certs("renew", folder / "issued/agent/x", "--dir", folder, "--days", "0") == 65
    assert "lasts from 1 to 36500 days, not 0" in capsys.readouterr().err


def test_help_says_which_options_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        certs("renew", "--help")
    said = " ".join(capsys.readouterr().out.split())
    assert "--dir, --days and --trust go with neither" in said
