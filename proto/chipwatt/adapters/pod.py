"""The shim before everything: what kube-scheduler sends, reduced to the little that may be known.

kube-scheduler sends the whole pod: names, environment, arguments, annotations, all
of it the tenant's. Of it there remain the uid, the class and replicas that two labels
name, a hash in place of gang and namespace, and requests for the resources that the
operator listed. Nothing here raises or logs, since an exception would carry the body
along in its frames; what is wrong comes back as a sentence that quotes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from chipwatt.adapters.asked import Binding, Pod, Question, Unusable, Victims

CLASS_LABEL = "chipwatt.io/class"
"""A class id, 32 hexadecimal digits; anything else counts as no class."""
REPLICAS_LABEL = "chipwatt.io/replicas"
"""How many replicas of the class run inside the pod; 1 where it is left out."""
GANG_LABEL = "chipwatt.io/gang"
"""Pods of one namespace with the same value peak together."""
_CLASS = re.compile(r"[0-9a-fA-F]{32}")
_UID = re.compile(r"[0-9A-Za-z-]{1,64}")
_NODE = re.compile(r"[0-9A-Za-z._-]{1,253}")
_REPLICAS = re.compile(r"[1-9][0-9]{0,3}")
_QUANTITY = re.compile(
    r"\+?(\d+\.?\d*|\.\d+)(?:([numkMGTPE]|[KMGTPE]i)|([eE][+-]?\d{1,5}))?", re.ASCII
)
"""As in k8s.io/apimachinery/pkg/api/resource; negative ones never reach a scheduler."""
_SUFFIX = {
    **{sign: Decimal(10) ** (3 * n) for n, sign in enumerate(("n", "u", "m", "", *"kMGTPE"), -3)},
    **{f"{sign}i": Decimal(1024) ** n for n, sign in enumerate("KMGTPE", 1)},
}
_MOST_MILLI = 10**15
"""A request for more than 10^12 of a thing is one for so many: no node has them."""


def question(body: bytes, resources: Collection[str]) -> Question | Unusable:
    """Read the body of filter or prioritize."""
    given = _object(body)
    if given is None:
        return Unusable("the body is no JSON object")
    pod = _pod(_part(given, "pod"), resources)
    if pod is None:
        return Unusable("Pod.metadata.uid: missing, or no uid")
    names, items = given.get("nodenames"), None
    if names is None and isinstance(given.get("nodes"), dict):
        items = _list(given["nodes"].get("items"))
        names = [_part(item, "metadata").get("name") for item in items]
    names = [] if names is None else names
    if not isinstance(names, list) or not all(map(_is_node, names)):
        return Unusable("NodeNames: not all are names of nodes")
    nodes = None if items is None else dict(zip(names, items, strict=True))
    return Question(pod, tuple(names), nodes)


def binding(body: bytes) -> Binding | Unusable:
    """Read the body of bind."""
    given = _object(body)
    if given is None:
        return Unusable("the body is no JSON object")
    found = [given.get(key) for key in ("poduid", "node", "podname", "podnamespace")]
    texts = [text for text in found if isinstance(text, str)]
    if len(texts) < len(found) or not all(map(_NODE.fullmatch, texts)):
        return Unusable("PodUID, Node, PodName, PodNamespace: missing, or no names")
    return Binding(*texts)


def victims(body: bytes) -> Victims | Unusable:
    """Read the body of preempt, in which victims stand whole or by uid."""
    given = _object(body)
    if given is None:
        return Unusable("the body is no JSON object")
    metas, whole = given.get("nodenametometavictims"), given.get("nodenametovictims")
    by_node = metas if metas is not None else whole
    if not isinstance(by_node, dict):
        return Unusable("NodeNameToMetaVictims and NodeNameToVictims: neither is there")
    found = {}
    for node, of_node in by_node.items():
        keys = _lower(of_node)
        pods = keys.get("pods") or []
        if not isinstance(pods, list):
            return Unusable("Pods: no list")
        uids = [_lower(pod).get("uid") or _part(pod, "metadata").get("uid") for pod in pods]
        violations = keys.get("numpdbviolations")
        if not _is_node(node):
            return Unusable("the names of nodes are no such names")
        found[node] = (
            tuple(uid for uid in uids if isinstance(uid, str) and _UID.fullmatch(uid)),
            violations if isinstance(violations, int) else 0,
        )
    return Victims(found)


def _object(body: bytes) -> dict[str, Any] | None:
    """Return a JSON object with its keys in lower case; Go's decoder takes any case, too."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return _lower(given) if isinstance(given, dict) else None


def _pod(given: Mapping[str, Any], resources: Collection[str]) -> Pod | None:
    metadata = _part(given, "metadata")
    uid = metadata.get("uid")
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        return None
    labels = _part(metadata, "labels")
    class_id, replicas, gang = (
        str(labels.get(name, "")) for name in (CLASS_LABEL, REPLICAS_LABEL, GANG_LABEL)
    )
    namespace = str(metadata.get("namespace", ""))
    return Pod(
        uid=uid,
        class_id=class_id.lower() if _CLASS.fullmatch(class_id) else "",
        replicas=int(replicas) if _REPLICAS.fullmatch(replicas) else 1,
        gang_id=_hash(namespace, gang) if gang else "",
        requests_milli=_requests(_part(given, "spec"), resources),
    )


def _requests(spec: Mapping[str, Any], resources: Collection[str]) -> dict[str, int]:
    """Return what a pod may use at once.

    That is all its containers or the largest that runs before them, either beside its
    sidecars; or what it requests as a whole.
    """
    before = _list(spec.get("initContainers"))
    beside = [item for item in before if _stays(item)]
    before = [item for item in before if not _stays(item)]
    found = {}
    for name in resources:
        sidecars = sum(_quantities(beside, name))
        together = sum(_quantities(_list(spec.get("containers")), name))
        first = max(_quantities(before, name), default=0)
        whole = sum(_quantities([spec], name))
        if most := max(sidecars + max(together, first), whole):
            found[name] = most
    return found


def _stays(container: object) -> bool:
    """Return whether an init container runs on beside the others."""
    return isinstance(container, dict) and container.get("restartPolicy") == "Always"


def _quantities(containers: list[Any], name: str) -> list[int]:
    """Return what each container requests of a resource, in thousandths; rounded up."""
    found = []
    for container in containers:
        resources = _part(container, "resources")
        given = _part(resources, "requests").get(name, _part(resources, "limits").get(name))
        match = _QUANTITY.fullmatch(str(given)) if given is not None else None
        if match is not None:
            number = Decimal(match[1] + (match[3] or "")) * _SUFFIX[match[2] or ""]
            found.append(math.ceil(min(number * 1000, Decimal(_MOST_MILLI))))
    return found


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()[:32]


def _is_node(name: object) -> bool:
    return isinstance(name, str) and _NODE.fullmatch(name) is not None


def _part(given: object, name: str) -> Mapping[str, Any]:
    part = given.get(name) if isinstance(given, dict) else None
    return part if isinstance(part, dict) else {}


def _list(given: object) -> list[Any]:
    return given if isinstance(given, list) else []


def _lower(given: object) -> dict[str, Any]:
    return {str(k).lower(): v for k, v in given.items()} if isinstance(given, dict) else {}
