"""The shim: what it keeps of a pod, and that it keeps nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipwatt.adapters import pod
from chipwatt.adapters.asked import Binding, Pod, Question, Unusable, Victims

GOLDEN = Path(__file__).parents[2] / "golden" / "extender"
RESOURCES = frozenset({"cpu", "nvidia.com/gpu"})
UID = "6f1c2f6e-2c51-4a7e-9a5e-0b7a6f6d3c11"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part),
    max_leaves=8,
)


def asked(given: Any) -> Question | Unusable:
    return pod.question(json.dumps(given).encode(), RESOURCES)


def of(spec: Any = None, **labels: Any) -> Pod:
    named = {name.replace("_", "/"): value for name, value in labels.items()}
    found = asked(
        {"Pod": {"metadata": {"uid": UID, "namespace": "a", "labels": named}, "spec": spec or {}}}
    )
    assert isinstance(found, Question)
    return found.pod


def test_all_that_is_kept_of_a_whole_pod() -> None:
    request = json.loads((GOLDEN / "filter_names.json").read_text())["request"]
    found = asked(request)
    assert isinstance(found, Question)
    assert found.names == ("n1", "n2", "elsewhere")
    assert found.nodes is None
    kept = found.pod
    assert (kept.uid, kept.class_id, kept.replicas) == (UID, "ab" * 16, 1)
    assert kept.requests_milli == {"cpu": 96_500, "nvidia.com/gpu": 8_000}
    assert len(kept.gang_id) == 32
    assert "trainer" not in kept.gang_id


def test_gangs_of_two_namespaces_are_two() -> None:
    def gang(namespace: str, name: str) -> str:
        labels = {pod.GANG_LABEL: name}
        found = asked({"Pod": {"metadata": {"uid": UID, "namespace": namespace, "labels": labels}}})
        assert isinstance(found, Question)
        return found.pod.gang_id

    assert gang("a", "g") == gang("a", "g") != gang("b", "g")
    assert gang("a", "bc") != gang("ab", "c")
    assert gang("a", "") == ""


@pytest.mark.parametrize("label", ["abc", "g" * 32, "ab" * 17, "../../etc", "", 7, None, ["ab"]])
def test_a_class_that_is_no_id_is_none(label: object) -> None:
    assert of(**{pod.CLASS_LABEL: label}).class_id == ""


@pytest.mark.parametrize(
    ("label", "replicas"), [("4", 4), ("0", 1), ("-1", 1), ("x", 1), ("99999", 1), ("9999", 9999)]
)
def test_replicas_are_a_small_number(label: str, replicas: int) -> None:
    assert of(**{pod.REPLICAS_LABEL: label}).replicas == replicas


@pytest.mark.parametrize(
    ("quantity", "milli"),
    [("1", 1000), ("500m", 500), ("0.5", 500), ("1500u", 2), ("2k", 2_000_000), ("1Ki", 1_024_000),
     (3, 3000), (0.25, 250), ("-1", 0), ("many", 0), (None, 0), ("\uff11", 0), ("8e0", 8000),
     ("1E3", 1_000_000), ("+.5", 500), ("2.", 2000), ("5e-1", 500), ("1T", 10**15),
     ("0.001Pi", 10**15), ("1E", 10**15), ("9" * 5_000, 10**15), ("1e99999", 10**15), ("1ee3", 0)],
)  # fmt: skip
def test_quantities(quantity: object, milli: int) -> None:
    spec = {"containers": [{"resources": {"requests": {"cpu": quantity}}}]}
    assert of(spec).requests_milli.get("cpu", 0) == milli


def test_requests_are_what_runs_at_once() -> None:
    def uses(cpu: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}

    spec = {"containers": [uses("1"), uses("2")], "initContainers": [uses("2"), uses("2.5")]}
    assert of(spec).requests_milli == {"cpu": 3000}
    spec["initContainers"].append(uses("4"))
    assert of(spec).requests_milli == {"cpu": 4000}
    only_limits = {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "2"}}}]}
    assert of(only_limits).requests_milli == {"nvidia.com/gpu": 2000}


def test_sidecars_run_beside_what_comes_before_and_after_them() -> None:
    def uses(cpu: str, **more: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {"containers": [uses("1")], "initContainers": [uses("2", restartPolicy="Always")]}
    assert of(spec).requests_milli == {"cpu": 3000}
    spec["initContainers"].append(uses("4"))
    assert of(spec).requests_milli == {"cpu": 6000}
    assert of({**spec, **uses("9")}).requests_milli == {"cpu": 9000}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is no JSON object"),
        (b"{", "the body is no JSON object"),
        (b"[1]", "the body is no JSON object"),
        (b'"\xff"', "the body is no JSON object"),
        (b"[" * 100_000, "the body is no JSON object"),
        (b'{"Pod":' + b"9" * 10_000 + b"}", "the body is no JSON object"),
        (b"{}", "Pod.metadata.uid: missing, or no uid"),
        (b'{"Pod":{"metadata":{"uid":"a b"}}}', "Pod.metadata.uid: missing, or no uid"),
        (b'{"Pod":{"metadata":{"uid":"a"}},"NodeNames":"n1"}', "NodeNames: not all"),
        (b'{"Pod":{"metadata":{"uid":"a"}},"NodeNames":[1]}', "NodeNames: not all"),
        (b'{"Pod":{"metadata":{"uid":"a"}},"NodeNames":["\\ud800"]}', "NodeNames: not all"),
        (b'{"Pod":{"metadata":{"uid":"a"}},"Nodes":{"items":[3]}}', "NodeNames: not all"),
    ],
)
def test_what_cannot_be_answered(body: bytes, reason: str) -> None:
    found = pod.question(body, RESOURCES)
    assert isinstance(found, Unusable)
    assert found.reason.startswith(reason)


def test_keys_in_any_case_as_go_takes_them() -> None:
    found = asked({"pod": {"metadata": {"uid": "a"}}, "nodenames": ["n1"]})
    assert isinstance(found, Question)
    assert found.names == ("n1",)


@settings(deadline=None)
@given(JSON, JSON, JSON)
def test_nothing_that_is_json_raises(metadata: Any, spec: Any, nodes: Any) -> None:
    labelled = {"uid": "a", "labels": metadata}
    containers = {"containers": spec, "initContainers": nodes}
    for given_pod in (
        metadata,
        {"metadata": metadata, "spec": spec},
        {"metadata": labelled, "spec": containers},
    ):
        for body in ({"Pod": given_pod, "Nodes": nodes}, {"Pod": given_pod, "NodeNames": nodes}):
            assert isinstance(asked(body), Question | Unusable)
    as_victims = json.dumps({"NodeNameToVictims": nodes, "NodeNameToMetaVictims": spec}).encode()
    assert isinstance(pod.victims(as_victims), Victims | Unusable)


@given(st.binary(max_size=30))
def test_nothing_that_is_bytes_raises(body: bytes) -> None:
    for found in (pod.question(body, RESOURCES), pod.binding(body), pod.victims(body)):
        assert isinstance(found, Question | Binding | Victims | Unusable)


def test_bindings() -> None:
    given = {"PodName": "p", "PodNamespace": "ns", "PodUID": "u-1", "Node": "n1"}
    assert pod.binding(json.dumps(given).encode()) == Binding("u-1", "n1", "p", "ns")
    for name in given:
        for wrong in (None, "", 3, "a/b", "\ud800"):
            found = pod.binding(json.dumps({**given, name: wrong}).encode())
            assert isinstance(found, Unusable), (name, wrong)
