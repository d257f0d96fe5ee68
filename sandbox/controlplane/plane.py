"""One throw-away Kubernetes control plane on loopback: everything is real but the containers.

etcd → kube-apiserver (RBAC, TLS, ServiceAccount tokens) → once `/readyz` answers 200: controller-manager, scheduler and
kwok, which plays the one node by `stages.yaml`. All files, keys and logs live below one folder.
"""

import http.client
import json
import os
import re
import ssl
import subprocess
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.controlplane import audit
from sandbox.controlplane.binaries import Binaries, ensure_binaries
from sandbox.controlplane.components import Components, Layout
from sandbox.controlplane.events import EventStream
from sandbox.controlplane.kubeconfig import write_token_config
from sandbox.processes import Child, SandboxError, free_ports, stop_all, wait_until

START_ATTEMPTS = 4
READY_DEADLINE_S = 90.0
PORTS_TAKEN = re.compile(r"address already in use|bind: address", re.IGNORECASE)
NODE = "sandbox-node"
REQUEST_METRIC = re.compile(
    r"^apiserver_request_total\{(?P<labels>.*)\} (?P<value>\S+)$", re.MULTILINE
)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class KubectlError(SandboxError):
    """kubectl ended with an error; `stderr` is what it said."""

    def __init__(self, argv: tuple[str, ...], stderr: str) -> None:
        super().__init__(f"kubectl {' '.join(argv)}: {stderr.strip()}")
        self.stderr = stderr


class ControlPlane:
    """A control plane in `root`. Use as a context manager, or `start()` and `stop()`."""

    def __init__(
        self, root: Path, *, audit: bool = False, binaries: Binaries | None = None
    ) -> None:
        self.root = root.resolve()
        self.audit = audit
        self.started_in_s = 0.0
        self._binaries = binaries
        self._children: list[Child] = []
        self._layout: Layout | None = None

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start all parts; returns when the node is Ready and a namespace can be used. Raises SandboxError."""
        self._binaries = self._binaries or ensure_binaries()
        begun = time.monotonic()
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                self._start_once(self._binaries)
                break
            except SandboxError as error:
                self.stop()
                # Somebody took one of our ports between choice and use.
                if attempt == START_ATTEMPTS or not PORTS_TAKEN.search(str(error)):
                    raise
            except BaseException:
                self.stop()
                raise
        self.started_in_s = time.monotonic() - begun
        return self

    def stop(self) -> None:
        """End all processes; files stay (the owner of `root` removes them)."""
        # The API server last but etcd, so that nothing spends its last second on retries.
        for child in reversed(self._children):
            stop_all([child], deadline_s=0.2 if child.command.name != "kube-apiserver" else 1.0)
        self._children.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_once(self, binaries: Binaries) -> None:
        layout = Layout.prepare(self.root, ports=free_ports(3), audit=self.audit)
        self._layout = layout
        parts = Components(binaries, layout)
        etcd = self._run(parts.etcd())
        apiserver = self._run(parts.apiserver())
        wait_until(
            "/readyz answering 200",
            lambda: self._status("/readyz") == http.client.OK,
            children=[apiserver, etcd],
            deadline_s=READY_DEADLINE_S,
        )
        self._run(parts.controller_manager())
        self._run(parts.scheduler())
        kwok = self._run(parts.kwok())
        self.request("POST", "/api/v1/nodes", _node())
        wait_until(
            "a Ready node and a usable namespace",
            self._usable,
            children=[kwok, *self._children],
            deadline_s=READY_DEADLINE_S,
        )

    def _run(self, child: Child) -> Child:
        self._children.append(child)
        return child

    def _usable(self) -> bool:
        """The node is Ready, its start-up taint gone, and pods would find their ServiceAccount."""
        node = json.loads(self.request("GET", f"/api/v1/nodes/{NODE}"))
        conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", ())}
        if conditions.get("Ready") != "True" or node["spec"].get("taints"):
            return False
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        return self._status(account) == http.client.OK

    @property
    def children(self) -> tuple[Child, ...]:
        return tuple(self._children)

    # -- talking to it ----------------------------------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            raise SandboxError("the control plane was not started")
        return self._layout

    @property
    def server(self) -> str:
        """The API server's address, https://127.0.0.1:port."""
        return self.layout.server

    @property
    def ca_file(self) -> Path:
        return self.layout.ca_file

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.layout.config("admin")

    def kubectl(self, *args: str, input: str | None = None, timeout_s: float = 60) -> str:  # noqa: A002 - as subprocess.run
        """Run kubectl as the administrator and return its output; raise KubectlError with what it said."""
        return self.kubectl_as(self.kubeconfig, *args, input=input, timeout_s=timeout_s)

    def kubectl_as(
        self,
        kubeconfig: Path,
        *args: str,
        input: str | None = None,  # noqa: A002 - as subprocess.run
        timeout_s: float = 60,
    ) -> str:
        """Like `kubectl`, as somebody else."""
        done = subprocess.run(
            [
                str(self.binaries.kubectl),
                f"--kubeconfig={kubeconfig}",
                f"--cache-dir={self.root / 'kubectl-cache'}",
                *args,
            ],
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, "KUBERC": "off"},
        )
        if done.returncode:
            raise KubectlError(args, done.stderr)
        return done.stdout

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig of an existing ServiceAccount, with a real token that outlives any test."""
        token = self.kubectl("create", "token", name, "-n", namespace, "--duration=24h").strip()
        path = self.root / "kubeconfigs" / f"{namespace}-{name}.yaml"
        return write_token_config(path, self.server, self.ca_file, token)

    def request(self, method: str, path: str, body: object = None) -> bytes:
        """One raw request as the administrator, PATCH as a strategic merge; raise SandboxError on a status of 400 or more."""
        status, answer = self._exchange(method, path, body)
        if status >= http.client.BAD_REQUEST:
            raise SandboxError(f"{method} {path}: {status} {answer[:256].decode(errors='replace')}")
        return answer

    def request_counts(self) -> Counter[tuple[str, str]]:
        """Return how many requests the API server has answered so far, by (verb, resource); verbs in capitals."""
        counts: Counter[tuple[str, str]] = Counter()
        for match in REQUEST_METRIC.finditer(self.request("GET", "/metrics").decode()):
            labels = dict(LABEL.findall(match["labels"]))
            counts[labels["verb"], labels["resource"]] += int(float(match["value"]))
        return counts

    def audit_events(self, user: str | None = None) -> list[audit.AuditEvent]:
        """Return the requests so far, of one user or all; a ServiceAccount is system:serviceaccount:NS:NAME."""
        if not self.audit:
            raise SandboxError("this control plane was started without audit=True")
        return audit.read_events(self.layout.audit_log, user)

    @property
    def binaries(self) -> Binaries:
        """The programs it is made of, kubectl among them."""
        self._binaries = self._binaries or ensure_binaries()
        return self._binaries

    def _status(self, path: str) -> int:
        try:
            return self._exchange("GET", path, None)[0]
        except OSError:
            return 0

    def watch(self, path: str) -> EventStream:
        """Open a watch as the administrator; iterate it, close it from any thread."""
        return EventStream(self._connect(timeout_s=None), path)

    def _connect(self, timeout_s: float | None = 10) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(self.layout.admin.cert, self.layout.admin.key)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.layout.port, context=context, timeout=timeout_s
        )

    def _exchange(self, method: str, path: str, body: object) -> tuple[int, bytes]:
        connection = self._connect()
        try:
            data = None if body is None else json.dumps(body)
            kind = "strategic-merge-patch+json" if method == "PATCH" else "json"
            headers = {"Content-Type": f"application/{kind}", "Accept": "application/json"}
            if path == "/metrics":
                headers = {}
            connection.request(method, path, body=data, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _node() -> dict[str, object]:
    room = {"cpu": "1000", "memory": "1Ti", "pods": "100000", "ephemeral-storage": "10Ti"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE, "type": "kwok"}},
        "status": {"allocatable": room, "capacity": room},
    }
