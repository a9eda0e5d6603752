"""The one command: what it loads, what it says, what it ends with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from chipwatt.cli import main
from chipwatt.core.errors import ConfigError


def test_alone_it_tells_a_newcomer_where_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == 0
    text = capsys.readouterr().out
    assert "chipwatt up" in text
    for command in main.COMMANDS:
        assert f"chipwatt {command.name}" in text


def test_help_is_fast_because_it_loads_nothing_heavy() -> None:
    code = (
        "import sys; from chipwatt.cli.main import run; run(['--help']); "
        "heavy = {'grpc', 'numpy', 'google.protobuf', 'rich'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("typed", "meant"), [("replya", "replay"), ("sensor", "sensors"), ("cllector", "collector")]
)
def test_an_unknown_command_names_the_nearest(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([typed]) == main.EXIT_USAGE
    assert f"did you mean `chipwatt {meant}`?" in capsys.readouterr().err


def test_nothing_near_points_at_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["xyzzy"]) == main.EXIT_USAGE
    assert "lists them all" in capsys.readouterr().err


def _command_that(monkeypatch: pytest.MonkeyPatch, outcome: BaseException) -> None:
    module = ModuleType("chipwatt.cli.outcome")

    def run(_args: object) -> int:
        raise outcome

    module.add_parser = lambda subparsers: subparsers.add_parser("outcome")  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    command = main.Command("outcome", "", "chipwatt.cli.outcome", "")
    monkeypatch.setitem(sys.modules, "chipwatt.cli.outcome", module)
    monkeypatch.setitem(main._BY_NAME, "outcome", command)


def test_a_known_fault_is_one_sentence_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _command_that(monkeypatch, ConfigError("agent.toml: unknown key 'rte'"))
    assert main.run(["outcome"]) == ConfigError.exit_code
    assert capsys.readouterr().err == "chipwatt: agent.toml: unknown key 'rte'\n"


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    _command_that(monkeypatch, KeyboardInterrupt())
    assert main.run(["outcome"]) == 130


def test_a_reader_that_leaves_is_no_fault() -> None:
    command = f"{sys.executable} -m chipwatt.cli completion bash | head -c 10"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""


def test_every_command_has_a_parser_with_help() -> None:
    parser = main.parser_for()
    for command in main.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            parser.parse_args([command.name, "--help"])
        assert ended.value.code == 0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"chipwatt {main.version()}\n"


def test_a_full_disk_behind_the_output_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "chipwatt.cli"], stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert result.returncode == 74
    assert result.stderr == "chipwatt: the output cannot be written: No space left on device\n"
