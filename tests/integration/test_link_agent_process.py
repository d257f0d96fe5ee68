"""The whole agent as a process: real control plane, git over https, a hub; and where its credential never shows."""

import base64
import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from protos.lockgate.v1 import agent_pb2 as pb
from protos.lockgate.v1.agent_pb2_grpc import AgentLinkServicer, add_AgentLinkServicer_to_server
from sandbox.controlplane.plane import ControlPlane
from tests.conftest import ROOT
from tests.fixtures_cluster import control_plane
from tests.fixtures_git import Author, GitServer, git_server

__all__ = ["control_plane", "git_server"]

pytestmark = pytest.mark.cluster

CANARY = "canary-7c1f0b2e9d"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: myapp
spec:
  replicas: 2
  selector: {matchLabels: {app: myapp}}
  template:
    metadata: {labels: {app: myapp}}
    spec:
      containers: [{name: myapp, image: "nanajanashia/argocd-app:1.0"}]
"""


class Hub(AgentLinkServicer):
    """Keeps every byte it got, acknowledges everything, and can send a hint."""

    def __init__(self) -> None:
        self.messages: list[pb.AgentMessage] = []
        self.outgoing: list[pb.HubMessage] = []
        self.ended = threading.Event()

    def Connect(self, requests, context) -> Iterator[pb.HubMessage]:  # noqa: N802 - the service's name
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()
        yield pb.HubMessage(welcome=pb.Welcome(hub_version="test"))
        sent = 0
        while context.is_active() and not self.ended.wait(0.005):
            while sent < len(self.outgoing):
                yield self.outgoing[sent]
                sent += 1

    def _read(self, requests) -> None:
        epoch = ""
        with contextlib.suppress(grpc.RpcError):
            for message in requests:
                self.messages.append(message)
                epoch = message.hello.epoch or epoch
                seq = message.report.seq or message.gone.seq
                if seq:
                    self.outgoing.append(pb.HubMessage(ack=pb.Ack(epoch=epoch, seq=seq)))

    def reports(self, app: str) -> list[pb.ApplicationReport]:
        found = [m.report for m in self.messages if m.WhichOneof("message") == "report"]
        return [report for report in found if report.app == app]


@dataclass
class Agent:
    """The running process and what was seen of it."""

    process: subprocess.Popen[bytes]
    log: Path
    cache: Path
    seen: set[str] = field(default_factory=set)
    looks: int = 0

    def watch_proc(self, stop: threading.Event) -> None:
        """Look at arguments and environment of the agent and its children as often as possible."""
        while not stop.is_set():
            self.looks += 1
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    self._look(entry)

    def _look(self, entry: Path) -> None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            group = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if int(entry.name) != self.process.pid and group != self.process.pid:
                return
            for name in ("cmdline", "environ"):
                self.seen.add((entry / name).read_bytes().decode("utf-8", "replace"))


def until(condition: Callable[[], bool], what: str, within_s: float = 40) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@pytest.fixture
def hub() -> Iterator[tuple[Hub, int]]:
    servicer = Hub()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    add_AgentLinkServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, port
    servicer.ended.set()
    server.stop(0).wait()


@pytest.fixture
def author(git_server: GitServer, tmp_path: Path) -> Author:
    git_server.passwords = {"reader": CANARY}
    made = Author(git_server.create("group/config.git"), tmp_path / "author")
    made.commit({"dev/deployment.yaml": DEPLOYMENT})
    return made


@pytest.fixture
def start_agent(control_plane: ControlPlane, git_server: GitServer, tmp_path: Path):
    made = subprocess.run(
        [sys.executable, "-m", "agent", "manifests"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    control_plane.kubectl("apply", "--server-side", "-f", "-", input=made.stdout)
    running: list[Agent] = []

    def start(*more: str) -> Agent:
        credential = tmp_path / "credential"
        address = git_server.base.replace("https://", f"https://reader:{CANARY}@")
        credential.write_text(f"{address}/group\n")
        credential.chmod(0o600)
        kubeconfig = control_plane.service_account_kubeconfig("lockgate-system", "lockgate-agent")
        log, cache = tmp_path / f"agent-{len(running)}.log", tmp_path / "cache"
        argv = [sys.executable, "-m", "agent", "run", "--cluster=dev", f"--kubeconfig={kubeconfig}"]
        argv += [f"--git-credential={credential}", f"--ca-file={git_server.ca_file}"]
        argv += [f"--cache-dir={cache}", *more]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "LOCKGATE_AGENT_DEBUG": "1",
        }
        with log.open("wb") as out:
            process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=out, stderr=out)
        running.append(Agent(process, log, cache))
        return running[-1]

    yield start
    for agent in running:
        agent.process.kill()
        agent.process.wait()
    names = ["canary-app", "canary-broken", "alone"]
    control_plane.kubectl(
        "delete", "applications", "-n", "argocd", "--ignore-not-found", "--wait=false", *names
    )


def application(
    git_server: GitServer, name: str, namespace: str, repo: str = "group/config.git"
) -> str:
    return json.dumps(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": name, "namespace": "argocd"},
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": f"{git_server.base}/{repo}",
                    "targetRevision": "HEAD",
                    "path": "dev",
                },
                "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
                "syncPolicy": {
                    "automated": {"selfHeal": True, "prune": True},
                    "syncOptions": ["CreateNamespace=true"],
                },
            },
        }
    )


def spellings(secret: str) -> list[bytes]:
    raw = secret.encode()
    return [
        raw,
        raw.hex().encode(),
        base64.b64encode(raw)[:-2],
        base64.b64encode(b"reader:" + raw)[:-2],
    ]


def test_a_change_goes_from_git_to_the_hub_and_the_credential_goes_nowhere(
    control_plane, git_server, author, hub, start_agent
):
    """Claims 1 and S4: synced, healthy, refreshed by a hint; no log, argument, environment, file, report has the token."""
    servicer, port = hub
    agent = start_agent(f"--hub=127.0.0.1:{port}", "--insecure-loopback", "--poll=10m")
    stop = threading.Event()
    watcher = threading.Thread(target=agent.watch_proc, args=(stop,))
    watcher.start()
    app = "argocd/canary-app"
    control_plane.kubectl(
        "apply", "-f", "-", input=application(git_server, "canary-app", "canary-ns")
    )
    broken = application(git_server, "canary-broken", "canary-ns2", "group/missing.git")
    control_plane.kubectl("apply", "-f", "-", input=broken)
    try:
        until(
            lambda: any(
                r.health == pb.HEALTHY and r.sync == pb.SYNCED for r in servicer.reports(app)
            ),
            "healthy",
        )
        revision = author.commit({"dev/deployment.yaml": DEPLOYMENT.replace(":1.0", ":1.2")})
        hint = pb.RefreshHint(repo=f"{git_server.base}/GROUP/config", ref="refs/heads/main")
        servicer.outgoing.append(pb.HubMessage(hint=hint))
        until(
            lambda: any(
                r.change_revision == revision and r.HasField("applied_at")
                for r in servicer.reports(app)
            ),
            "hint",
        )
        until(lambda: bool(servicer.reports("argocd/canary-broken")), "broken reported")
    finally:
        stop.set()
        watcher.join()
    live = control_plane.kubectl("get", "deployment", "myapp", "-n", "canary-ns", "-o", "json")
    assert ":1.2" in live
    agent.process.send_signal(signal.SIGTERM)
    assert agent.process.wait(20) == 0
    status = control_plane.kubectl("get", "applications", "-n", "argocd", "-o", "yaml")
    told = b"".join(m.SerializeToString() for m in servicer.messages)
    places = {
        "log": agent.log.read_bytes(),
        "hub": told,
        "status": status.encode(),
        "arguments and environments": "\n".join(agent.seen).encode(),
        **{str(f): _content(f) for f in agent.cache.rglob("*") if f.is_file()},
    }
    assert agent.looks > 20
    assert any("fetch" in text for text in agent.seen), (
        "git itself was never seen; the look is blind"
    )
    assert any(CANARY in auth or auth for _, auth in git_server.requests), "the credential was used"
    assert not find_leaks(places, CANARY)


def find_leaks(places: dict[str, bytes], secret: str) -> list[str]:
    """Name the places that hold the secret in any spelling."""
    return [
        name for name, content in places.items() if any(s in content for s in spellings(secret))
    ]


@pytest.mark.parametrize("planted", spellings(CANARY), ids=["plain", "hex", "base64", "basic"])
def test_a_planted_leak_is_found(planted, tmp_path):
    """D51: the search itself can fail, also inside a compressed file."""
    (tmp_path / "file.gz").write_bytes(gzip.compress(b"xx " + planted + b" yy"))
    assert find_leaks({"file": _content(tmp_path / "file.gz"), "clean": b"nothing"}, CANARY) == [
        "file"
    ]


def _content(file: Path) -> bytes:
    raw = file.read_bytes()
    with contextlib.suppress(OSError, EOFError):
        return raw + gzip.decompress(raw)
    return raw


def test_without_a_hub_the_poll_does_the_same(control_plane, git_server, author, start_agent):
    """Claim 2: timing differs, nothing else."""
    agent = start_agent("--poll=1s")
    control_plane.kubectl("apply", "-f", "-", input=application(git_server, "alone", "alone-ns"))

    def image() -> str:
        with contextlib.suppress(Exception):
            return control_plane.kubectl(
                "get", "deployment", "myapp", "-n", "alone-ns", "-o", "jsonpath={..image}"
            )
        return ""

    until(lambda: image().endswith(":1.0"), "first sync")
    author.commit({"dev/deployment.yaml": DEPLOYMENT.replace(":1.0", ":1.1")})
    until(lambda: image().endswith(":1.1"), "polled sync")
    agent.process.send_signal(signal.SIGINT)
    assert agent.process.wait(20) == 0
    assert b"Traceback" not in agent.log.read_bytes()
