"""The shipped examples fit the adapters that they configure."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from chipwatt.cli import main
from chipwatt.cli.workload import Classes
from chipwatt.core.settings import build, duration, load
from chipwatt.core.workload import parse_id

PACKAGING = Path(__file__).parents[3] / "packaging"
VERBS = {"filterVerb": "filter", "prioritizeVerb": "prioritize", "bindVerb": "bind",
         "preemptVerb": "preempt"}  # fmt: skip


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((PACKAGING / "kubernetes" / name).read_text()))


def parsed(args: list[str]) -> Any:
    return main.parser_for([c for c in main.COMMANDS if c.name == "adapter"]).parse_args(args)


@pytest.mark.parametrize("name", ["scheduler-config.yaml", "scheduler-config-bind.yaml"])
def test_a_scheduler_is_configured_for_what_is_served(name: str) -> None:
    (config,) = documents(name)
    assert config["kind"] == "KubeSchedulerConfiguration"
    deadline_ns = parsed(["adapter", "k8s"]).deadline
    for extender in config["extenders"]:
        assert extender["urlPrefix"] == "http://127.0.0.1:8099/scheduler"
        given = {key: value for key, value in extender.items() if key.endswith("Verb")}
        assert given.items() <= VERBS.items()
        assert duration(extender["httpTimeout"]) > 2 * deadline_ns
        # A bind that is ignored would place pods without power; nothing else may hold them up.
        assert extender["ignorable"] is ("bindVerb" not in extender)
    binders = [extender for extender in config["extenders"] if "bindVerb" in extender]
    assert len(binders) == ("bind" in name)


def test_the_adapters_command_lines_are_ones() -> None:
    pod, role, binding = documents("adapter.yaml")
    (container,) = pod["spec"]["containers"]
    args = parsed(container["args"])
    assert (args.listen, args.when_unavailable, args.ttl) == ("127.0.0.1:8099", "pass", 300)
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods/binding"], "verbs": ["create"]}
    ]
    assert binding["subjects"][0]["name"] == pod["spec"]["serviceAccountName"]
    unit = (PACKAGING / "slurm" / "chipwatt-slurm.service").read_text()
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert parsed(shlex.split(line)[1:]).every == 60


def test_what_slurms_prolog_and_epilog_call_exists() -> None:
    commands = [c for c in main.COMMANDS if c.name == "workload"]
    for name in ("prolog", "epilog"):
        script = PACKAGING / "slurm" / f"chipwatt-{name}.sh"
        assert script.stat().st_mode & 0o111
        (line,) = (line for line in script.read_text().splitlines() if "chipwatt workload" in line)
        words = shlex.split(line)
        at = words.index("chipwatt")
        args = main.parser_for(commands).parse_args(words[at + 1 : words.index("||")])
        assert args.workload == f"slurm-{name}"


def test_the_file_of_classes_is_one() -> None:
    path = PACKAGING / "config" / "classes.toml"
    assert load(Classes, path) == Classes()
    text = path.read_text().replace("# train", "train").replace("# inference", "inference")
    named = build(Classes, tomllib.loads(text), "classes")
    for name, id_ in (*named.slurm.items(), *named.kubernetes.items()):
        assert name in {"train", "inference"}
        assert len(parse_id(id_)) == 16
