"""Bindings over a real socket, with TLS and a token as in a cluster."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trustme

from chipwatt.adapters.kube_api import (
    BindRefused,
    BindUnknown,
    KubeApi,
    address_from_environment,
)
from chipwatt.core.errors import ConfigError
from fakes.kube_api import KubeApiServer, kube_api


def test_a_token_and_a_ca_as_in_a_cluster(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    token = tmp_path / "token"
    token.write_text("first\n")
    with kube_api(KubeApiServer("first", context)) as server:
        api = KubeApi(server.url, token, tmp_path / "ca.crt")
        with pytest.raises(BindRefused, match="404"):
            api.bind("team/../b", "pod-1", "u1", "n1")
        api.bind("team", "pod-1", "u1", "n1")
        assert server.bound == {"u1": "n1"}
        server.token = "second"
        with pytest.raises(BindRefused, match="answered 401 Unauthorized"):
            api.bind("team", "pod-2", "u2", "n1")
        token.write_text("second\n")
        api.bind("team", "pod-2", "u2", "n1")
        assert server.bound["u2"] == "n1"
        with pytest.raises(BindUnknown, match=r"no answer \(SSLCertVerificationError\)"):
            KubeApi(server.url, token, None).bind("team", "pod-3", "u3", "n1")


def test_no_reply_names_the_pod() -> None:
    with kube_api(KubeApiServer()) as server:
        server.refuse["n1"] = 409
        with pytest.raises(BindRefused) as told:
            KubeApi(server.url, None, None).bind("team", "secret-name", "u1", "n1")
    assert str(told.value) == "the Kubernetes API server answered 409 Conflict"


def test_nobody_there_and_somebody_silent() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(BindUnknown, match="ConnectionRefusedError"):
            KubeApi(url, None, None).bind("team", "p", "u", "n1")
        deaf.listen()
        with pytest.raises(BindUnknown, match="TimeoutError"):
            KubeApi(url, None, None, timeout_s=0.1).bind("team", "p", "u", "n1")


def test_what_a_pod_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert address_from_environment() == ""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    assert address_from_environment() == "https://[fd00::1]:6443"


@pytest.mark.parametrize(
    ("url", "token", "reason"),
    [("", None, "--kube-api: '' is no http or https URL"), ("ftp://x", None, "is no http"),
     ("http://x:port", None, "is no http"), ("http://x", Path("/no/token"), "--kube-token: /no")],
)  # fmt: skip
def test_what_cannot_be_an_api_server(url: str, token: Path | None, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        KubeApi(url, token, None)
