"""An engine in this process, as the shipped ServiceAccount, on the real control plane; and the people around it."""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.cluster.kube import KubeCluster, KubeOptions
from agent.core.report import ApplicationGone, ApplicationReport
from agent.errors import SourceError
from agent.manifests import ManifestOptions, render_manifests
from agent.reconcile.engine import Engine
from agent.reconcile.options import ReconcileOptions
from agent.source.port import Tree, TreeFile
from sandbox.controlplane.plane import ControlPlane, KubectlError

AGENT = "system:serviceaccount:lockgate-system:lockgate-agent"
REPO = "https://git.example.test/group/config.git"
DEADLINE_S = 40.0

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: myapp
spec:
  selector:
    matchLabels:
      app: myapp
  replicas: {replicas}
  template:
    metadata:
      labels:
        app: myapp
    spec:
      containers:
      - name: myapp
        image: nanajanashia/argocd-app:{tag}
        ports:
        - containerPort: 8080
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata:
  name: myapp-service
spec:
  selector:
    app: myapp
  ports:
  - port: 8080
    protocol: TCP
    targetPort: 8080
"""


class MemorySource:
    """A `Source` of commits in memory: what each commit holds, and whether the network is up."""

    def __init__(self) -> None:
        self.commits: list[dict[str, str]] = []
        self.down = False
        self.fetches = 0

    def commit(self, files: Mapping[str, str]) -> str:
        self.commits.append(dict(files))
        return self.revision(len(self.commits) - 1)

    @staticmethod
    def revision(index: int) -> str:
        return f"{index:040x}"

    def fetch(self, repo: str, target_revision: str, *, since: float | None = None) -> str:
        self.fetches += 1
        if self.down or not self.commits:
            raise SourceError(f"{repo}: cannot be reached")
        known = {self.revision(index) for index in range(len(self.commits))}
        return target_revision if target_revision in known else self.revision(len(self.commits) - 1)

    def get_tree(self, repo: str, revision: str, path: str) -> Tree:
        files = self.commits[int(revision, 16)]
        found = [
            TreeFile(path=name, oid=f"{len(text)}-{hash(text)}", mode=0o100644, size=len(text))
            for name, text in sorted(files.items())
        ]
        return Tree(revision=revision, oid=str(hash(json.dumps(files))), files=found)

    def read_blobs(self, repo: str, oids: Sequence[str]) -> Mapping[str, bytes]:
        texts = {
            f"{len(t)}-{hash(t)}": t.encode() for files in self.commits for t in files.values()
        }
        return {oid: texts[oid] for oid in oids}

    def find_change(self, repo: str, revision: str, path: str) -> str:
        index = int(revision, 16)
        while index and self.commits[index] == self.commits[index - 1]:
            index -= 1
        return self.revision(index)

    def is_ancestor(self, repo: str, older: str, newer: str) -> bool:
        return int(older, 16) <= int(newer, 16)


class World:
    """One Application in its own namespaces; several of these can share a control plane."""

    def __init__(self, plane: ControlPlane, kubeconfig: Path) -> None:
        suffix = uuid.uuid4().hex[:8]
        self.plane = plane
        self.kubeconfig = kubeconfig
        self.app = f"myapp-{suffix}"
        self.namespace = f"dest-{suffix}"
        self.apps = f"apps-{suffix}"
        self.source = MemorySource()
        self.reports: list[Any] = []
        self.engine: Engine | None = None
        self._heard = threading.Condition()
        install(plane, ManifestOptions(namespaces=(self.apps,)))

    # -- the agent -------------------------------------------------------------------------------

    def start(self, cluster: Any = None, **options: Any) -> Engine:
        chosen = {"poll_interval_s": 600.0, "namespaces": (self.apps,), **options}
        self.engine = Engine(
            cluster or self.cluster(), self.source, self._hear, ReconcileOptions(**chosen)
        )
        self.engine.start()
        return self.engine

    def cluster(self) -> KubeCluster:
        return KubeCluster(KubeOptions(kubeconfig=str(self.kubeconfig)))

    def stop(self) -> None:
        if self.engine is not None:
            assert self.engine.stop()
            self.engine = None

    def _hear(self, report: ApplicationReport | ApplicationGone) -> None:
        with self._heard:
            self.reports.append(report)
            self._heard.notify_all()

    def until_report(self, condition: Callable[[Any], bool]) -> Any:
        """Return the first report, past or coming, that satisfies a condition."""
        with self._heard:
            seen = 0

            def found() -> bool:
                nonlocal seen
                while seen < len(self.reports):
                    if condition(self.reports[seen]):
                        return True
                    seen += 1
                return False

            assert self._heard.wait_for(found, DEADLINE_S), self.reports[-1:]
            return self.reports[seen]

    def mark(self) -> None:
        """Forget the reports so far."""
        with self._heard:
            self.reports.clear()

    # -- git -------------------------------------------------------------------------------------

    @staticmethod
    def seed_files(*, tag: str = "1.0", replicas: int = 2) -> dict[str, str]:
        return {
            "deployment.yaml": DEPLOYMENT.format(tag=tag, replicas=replicas),
            "service.yaml": SERVICE,
        }

    def commit(self, files: Mapping[str, str]) -> str:
        return self.source.commit(files)

    def push(self, files: Mapping[str, str]) -> str:
        """Commit, and let the agent know as a hub would."""
        revision = self.commit(files)
        self.hint()
        return revision

    def hint(self) -> None:
        assert self.engine is not None
        assert self.engine.refresh("git@git.example.test:group/config.git", "refs/heads/main") == 1

    def head(self) -> str:
        return self.source.revision(len(self.source.commits) - 1)

    # -- the cluster, as its administrator --------------------------------------------------------

    def apply_application(
        self,
        *,
        automated: dict[str, Any] | None = None,
        finalizers: Sequence[str] = (),
        **spec: Any,
    ) -> None:
        policy: dict[str, Any] = {"syncOptions": ["CreateNamespace=true"]}
        policy["automated"] = {"selfHeal": True, "prune": True} if automated is None else automated
        if not policy["automated"]:
            del policy["automated"]
        manifest = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {
                "name": self.app,
                "namespace": self.apps,
                "finalizers": list(finalizers),
            },
            "spec": {
                "project": "default",
                "source": {"repoURL": REPO, "targetRevision": "HEAD", "path": "dev"},
                "destination": {
                    "server": "https://kubernetes.default.svc",
                    "namespace": self.namespace,
                },
                "syncPolicy": policy,
                **spec,
            },
        }
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.plane.kubectl(*arguments, input=stdin)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", kind, name, "-n", self.namespace, "-o", "json"))

    def exists(self, kind: str, name: str) -> bool:
        try:
            self.get(kind, name)
        except KubectlError:
            return False
        return True

    def application(self) -> dict[str, Any]:
        text = self.kubectl(
            "get", "applications.argoproj.io", self.app, "-n", self.apps, "-o", "json"
        )
        return json.loads(text)

    def patch_application(self, patch: dict[str, Any]) -> None:
        self.kubectl(
            "patch", "applications.argoproj.io", self.app, "-n", self.apps,
            "--type=merge", "-p", json.dumps(patch),
        )  # fmt: skip

    def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Return the first truthy answer; fail with what is known after the deadline."""
        tick = threading.Event()
        for _ in range(int(DEADLINE_S / 0.1)):
            if answer := condition():
                return answer
            tick.wait(0.1)
        told = self.application() if what != "gone" else {}
        raise AssertionError(f"not in time: {what}; status {json.dumps(told.get('status'))}")

    def until_status(self, *, sync: str, health: str = "", revision: str = "") -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            status = self.application().get("status") or {}
            if status.get("sync", {}).get("status") != sync:
                return None
            if health and status.get("health", {}).get("status") != health:
                return None
            if revision and status["sync"].get("revision") != revision:
                return None
            return status

        return self.until(reached, f"{sync} {health} {revision}")

    # -- what the API server saw ------------------------------------------------------------------

    def requests(self) -> list[Any]:
        """Return the agent's requests so far that concern the destination namespace.

        The server writes a line after it has answered, so the log is read until it stands still for a moment.
        """
        seen = self._read_requests()
        while True:
            time.sleep(0.1)
            again = self._read_requests()
            if len(again) == len(seen):
                return again
            seen = again

    def _read_requests(self) -> list[Any]:
        return [
            event
            for event in self.plane.audit_events(AGENT)
            if event.namespace == self.namespace and event.verb != "watch"
        ]


def install(plane: ControlPlane, options: ManifestOptions) -> None:
    plane.kubectl("apply", "-f", "-", input=render_manifests(options))


@contextlib.contextmanager
def running(plane: ControlPlane) -> Iterator[World]:
    install(plane, ManifestOptions())
    world = World(plane, plane.service_account_kubeconfig("lockgate-system", "lockgate-agent"))
    try:
        yield world
    finally:
        world.stop()
        plane.kubectl("delete", "namespace", world.apps, "--wait=false")
