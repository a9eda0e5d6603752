"""A Kubernetes API server that knows one call: bindings. It keeps them and can say no."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class KubeApiServer(ThreadingHTTPServer):
    """Binds each pod once; ``refuse`` maps a node to the status that its bindings meet."""

    daemon_threads = True

    def __init__(self, token: str = "", tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.bound: dict[str, str] = {}
        self.bodies: list[dict[str, Any]] = []
        self.refuse: dict[str, int] = {}
        self.lock = threading.Lock()
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: KubeApiServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization", "") != (
            f"Bearer {self.server.token}" if self.server.token else ""
        ):
            return self._say(401, "Unauthorized")
        node, uid = body["target"]["name"], body["metadata"]["uid"]
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        if self.path != f"/api/v1/namespaces/{namespace}/pods/{name}/binding":
            return self._say(404, "NotFound")
        with self.server.lock:
            self.server.bodies.append(body)
            if node in self.server.refuse:
                return self._say(self.server.refuse[node], "Conflict")
            if uid in self.server.bound:
                return self._say(409, "Conflict")
            self.server.bound[uid] = node
        return self._say(201, "")

    def _say(self, status: int, reason: str) -> None:
        said = {"kind": "Status", "status": "Failure" if reason else "Success", "reason": reason,
                "message": f"{self.path} says {reason}"}  # fmt: skip
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def kube_api(server: KubeApiServer) -> Iterator[KubeApiServer]:
    """Serve for the length of the block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
