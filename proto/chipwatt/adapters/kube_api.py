"""One call to a Kubernetes API server: bind a pod to a node."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from chipwatt.core.errors import ConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token (``token``) and the API server's CA (``ca.crt``)."""
_WORD = re.compile(r"[A-Za-z]{1,40}")
_MOST_REPLY_BYTES = 64 * 1024


class BindRefused(Exception):
    """The API server said no, so that the pod is not bound."""


class BindUnknown(Exception):
    """No answer came: the pod may be bound or not."""


def address_from_environment() -> str:
    """Return the API server's URL as a pod is told it; empty outside a cluster."""
    host, port = (
        os.environ.get("KUBERNETES_SERVICE_HOST"),
        os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
    )
    bracketed = f"[{host}]" if host and ":" in host else host
    return f"https://{bracketed}:{port}" if host else ""


@dataclass(frozen=True, slots=True)
class KubeApi:
    """An API server. The token is read anew for each call, as it is renewed on disk."""

    url: str
    token_file: Path | None
    ca_file: Path | None
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        try:
            parts = urllib.parse.urlsplit(self.url)
            is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_url = False
        if not is_url:
            raise ConfigError(f"--kube-api: {self.url!r} is no http or https URL")
        for option, file in (("--kube-token", self.token_file), ("--kube-ca", self.ca_file)):
            if file is not None and not file.is_file():
                raise ConfigError(f"{option}: {file}: no such file")

    def bind(self, namespace: str, pod_name: str, pod_uid: str, node: str) -> None:
        """Bind a pod. Raises BindRefused or BindUnknown, neither of which names the pod."""
        quoted = (urllib.parse.quote(text, safe="") for text in (namespace, pod_name))
        path = "/api/v1/namespaces/{}/pods/{}/binding".format(*quoted)
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod_name, "namespace": namespace, "uid": pod_uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            status, reason = self._post(path, json.dumps(body))
        except (OSError, http.client.HTTPException) as error:
            raise BindUnknown(
                f"the Kubernetes API server gave no answer ({type(error).__name__})"
            ) from None
        if status >= 500:
            raise BindUnknown(f"the Kubernetes API server answered {status}")
        if status >= 300:
            raise BindRefused(f"the Kubernetes API server answered {status} {reason}".rstrip())

    def _post(self, path: str, body: str) -> tuple[int, str]:
        parts = urllib.parse.urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca_file)
            connection = http.client.HTTPSConnection(
                host, port, timeout=self.timeout_s, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self.timeout_s)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token_file is not None:
            headers["Authorization"] = f"Bearer {self.token_file.read_text().strip()}"
        try:
            connection.request("POST", parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            return response.status, _reason(response.read(_MOST_REPLY_BYTES))
        finally:
            connection.close()


def _reason(body: bytes) -> str:
    """Return the one word of a Status that says why; its message would name the pod."""
    try:
        reason = json.loads(body).get("reason", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return reason if isinstance(reason, str) and _WORD.fullmatch(reason) else ""
