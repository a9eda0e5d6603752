"""What is shipped holds; each thing that somebody took away is named, with the way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent.doctor.finding import Finding, State
from chipwatt.agent.doctor.units import AGENT, PROMISES, SENSING, units
from fakes.machine import FakeMachine
from unit.agent.doctor.diagnosis import facts_of, told

SHIPPED = Path(__file__).parents[4] / "packaging" / "systemd"
BOTH = (SENSING, AGENT)


class Host:
    """A machine with both units as shipped."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.machine = FakeMachine(root)
        for name in BOTH:
            self.machine.write(f"usr/lib/systemd/system/{name}", (SHIPPED / name).read_text())
        people = "root\nchipwatt-sensing\nchipwatt-agent\n".replace("\n", ":x:1:1\n")
        self.machine.write("etc/passwd", people)
        self.machine.write("etc/group", people + "chipwatt:x:9:\n")
        self.machine.zone("intel-rapl:0", "package-0", 0o440)

    def drop_in(self, name: str, text: str, file: str = "x.conf") -> None:
        self.machine.write(f"etc/systemd/system/{name}.d/{file}", text)

    def found(self) -> Finding:
        return units(facts_of(self.root))


def test_a_host_without_units_has_none_to_check(tmp_path: Path) -> None:
    FakeMachine(tmp_path)
    finding = units(facts_of(tmp_path))
    assert finding.state is State.OFF
    assert "packaging/systemd" in told(finding)


def test_what_is_shipped_holds(tmp_path: Path) -> None:
    finding = Host(tmp_path).found()
    assert (finding.state, finding.missing) == (State.WORKS, [])
    assert len(finding.there) == 2


@pytest.mark.parametrize(("name", "key"), [(name, key) for name in BOTH for key in PROMISES[name]])
def test_each_promise_that_a_drop_in_breaks_is_named(tmp_path: Path, name: str, key: str) -> None:
    host = Host(tmp_path)
    host.drop_in(name, f"[Service]\n{key}=something\n")
    finding = host.found()
    assert finding.state is State.PART
    assert [text for text in finding.missing if f"{name}: {key}=something" in text]
    assert f"sudo systemctl revert {name}" in told(finding)


@pytest.mark.parametrize("name", BOTH)
def test_a_unit_of_ones_own_without_a_promise_is_told(tmp_path: Path, name: str) -> None:
    host = Host(tmp_path)
    host.machine.write(f"etc/systemd/system/{name}", "[Service]\nExecStart=/x\n")
    finding = host.found()
    assert len(finding.missing) == len(PROMISES[name]) + 1
    assert f"{name}: runs as root" in told(finding)


def test_the_last_word_counts_and_comments_do_not(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.drop_in(SENSING, "[Service]\nPrivateNetwork=no\n", "10.conf")
    host.drop_in(SENSING, "[Service]\n#PrivateNetwork=no\nPrivateNetwork=true\n", "20.conf")
    host.drop_in(SENSING, "[Unit]\nPrivateNetwork=no\n", "30.conf")
    assert host.found().state is State.WORKS


def test_users_that_are_not_there_are_made(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.machine.write("etc/group", "root:x:0:\n")
    finding = host.found()
    assert "users and groups: chipwatt" in finding.missing
    assert "sudo systemd-sysusers" in told(finding)


def test_one_user_for_both_is_told(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.drop_in(AGENT, "[Service]\nUser=chipwatt-sensing\n")
    assert "both units run as chipwatt-sensing" in told(host.found())


def test_half_of_it_is_told(tmp_path: Path) -> None:
    host = Host(tmp_path)
    (tmp_path / "usr/lib/systemd/system" / SENSING).unlink()
    assert f"{SENSING}: the other of the two is installed" in told(host.found())


def test_secrets_that_are_open_to_everybody_are_told(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.machine.zone("intel-rapl:1", "package-1", 0o444)
    host.machine.write("etc/chipwatt/tls/key.pem").chmod(0o644)
    finding = host.found()
    assert "everybody may read" in told(finding)
    assert "CVE-2020-8694" in told(finding)
    assert "private key" in told(finding)
    assert any("chmod o-rwx" in text for each in finding.remedies for text in each.commands)


RENEW = "chipwatt-renew.service"


def renewing(root: Path, folder: str) -> Host:
    """Return a host whose certificate is in ``folder``, with the unit that renews."""
    host = Host(root)
    host.machine.write(f"usr/lib/systemd/system/{RENEW}", (SHIPPED / RENEW).read_text())
    files = "".join(f'{name} = "{folder}/{name}.pem"\n' for name in ("ca", "cert", "key"))
    host.machine.write("etc/chipwatt/agent.toml", f"[tls]\n{files}")
    return host


def test_the_shipped_place_of_certificates_can_be_renewed(tmp_path: Path) -> None:
    assert renewing(tmp_path, "/etc/chipwatt/tls").found().state is State.WORKS


def test_a_certificate_that_cannot_be_renewed_where_it_is_is_told_with_the_drop_in(
    tmp_path: Path,
) -> None:
    host = renewing(tmp_path, "/srv/pki")
    finding = host.found()
    assert finding.state is State.PART
    assert f"{RENEW}: may not write to /srv/pki" in told(finding)
    (remedy,) = finding.remedies
    assert remedy.file == f"/etc/systemd/system/{RENEW}.d/tls.conf"
    host.machine.write(remedy.file.lstrip("/"), remedy.text)
    assert host.found().state is State.WORKS
    host.drop_in(RENEW, "[Service]\nReadWritePaths=\n", "z.conf")
    assert "may not write to /srv/pki" in told(host.found()), "an empty one forgets the others"


def test_the_key_that_the_configuration_names_is_the_one_that_is_looked_at(tmp_path: Path) -> None:
    host = renewing(tmp_path, "/etc/chipwatt/tls")
    host.machine.write("etc/chipwatt/tls/key.pem").chmod(0o644)
    assert "private key" in told(host.found())
    host.machine.write("etc/chipwatt/agent.toml", '[tls]\nkey = "/srv/key.pem"\n')
    assert "private key" not in told(host.found())
    host.machine.write("srv/key.pem").chmod(0o644)
    assert "private key" in told(host.found())


@pytest.mark.parametrize("text", ["[tls", "tls = 3", "[tls]\nkey = 3", '[tls]\nkey = "relative"'])
def test_a_configuration_that_is_wrong_is_not_the_doctors_matter(tmp_path: Path, text: str) -> None:
    host = renewing(tmp_path, "/etc/chipwatt/tls")
    host.machine.write("etc/chipwatt/agent.toml", text)
    assert host.found().state is State.WORKS
