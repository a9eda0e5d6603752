"""`chipwatt agent --check` finds what would stop the agent later."""

from __future__ import annotations

from pathlib import Path

import pytest

from chipwatt.agent import cli


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[sources.replay]\nfile = "/nowhere/trace.csv"', "there is no file /nowhere/trace.csv"),
        ('[sources.replay]\nspeed = "1e9"', "speed is a number from 0.000001 to 1000000"),
        ('state_dir = ""', "state_dir: a path expected"),
        ('[sensing]\nwindow = "1500ms"', "window and batch must be whole seconds"),
        ('state_dir = "/"\n[workloads]\ngroup = "no-such"', "this host has no group 'no-such'"),
        ('[workloads]\nsocket = "/etc/passwd"', "/etc/passwd: something else is where"),
        ('[workloads]\nsocket = "/etc/passwd/s"', "/etc/passwd: no folder"),
        ('[workloads]\nsocket = "/nowhere/s"', "/nowhere: cannot be used: No such file"),
    ],
)
def test_check_refuses_what_cannot_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    assert cli.main(["--check", "--config", str(path)]) == 78
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_check_takes_a_short_window_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'state_dir = "{tmp_path}"\n[sensing]\nwindow = "2s"\n')
    assert cli.main(["--check", "--config", str(path)]) == 0
