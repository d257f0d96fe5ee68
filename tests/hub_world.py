"""A real `lockgate serve` beside the sandbox forge, and an agent's end of the wire to speak to it."""

import queue
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gitlab
import grpc
import requests

from protos.lockgate.v1 import agent_pb2 as pb
from protos.lockgate.v1 import agent_pb2_grpc as rpc
from sandbox.forge import SandboxForge
from sandbox.forge.seed import DEPLOYMENT
from sandbox.processes import Child, Command, free_ports, start, wait_until
from sandbox.stack import script

WEBHOOK_SECRET = "canary-webhook-6f1d0c5e"
MARKER_SECRET = "canary-marker-77aa31d2"
POLL_S = 2


class HubWorld:
    """A forge with its people, the hub's files, and the hub that runs on them now."""

    def __init__(self, root: Path, forge: SandboxForge, *, poll_s: float = 3600) -> None:
        self.root = root
        self.forge = forge
        self.web, self.agents, self.metrics = free_ports(3)
        self.log = root / "hub.log"
        self.database = root / "hub.db"
        self.config = root / "hub.toml"
        self._write_files(poll_s)
        self._hub: Child | None = None
        self._links: list[AgentEnd] = []

    def _write_files(self, poll_s: float) -> None:
        files = {
            "marker": MARKER_SECRET,
            "token": self.forge.token("lockgate-hub"),
            "secret": WEBHOOK_SECRET,
        }
        for name, text in files.items():
            (self.root / name).write_text(text)
        self.config.write_text(f"""\
[hub]
database = "{self.database}"
agents_listen = "127.0.0.1:{self.agents}"
web_listen = "127.0.0.1:{self.web}"
metrics_listen = "127.0.0.1:{self.metrics}"
marker_secret_file = "{self.root / "marker"}"
poll = {poll_s}

[[projects]]
url = "{self.forge.url}"
project = "{self.forge.project_path}"
repositories = ["{self.forge.clone_url}"]
token_file = "{self.root / "token"}"
webhook_secret_file = "{self.root / "secret"}"
ca_file = "{self.forge.ca_file}"
""")

    # -- the hub ------------------------------------------------------------------------------------------------------

    def start(self) -> Child:
        argv = [script("lockgate"), "serve", "--config", str(self.config), "--insecure-loopback"]
        self._hub = start(Command(name="hub", argv=argv, log=self.log, cwd=self.root))
        wait_until("being ready", self._ready, children=[self._hub], deadline_s=60)
        return self._hub

    def _ready(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.web}/healthz", timeout=2).ok
        except requests.RequestException:
            return False

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        hub, self._hub = self._hub, None
        return 0 if hub is None else hub.stop()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        hub, self._hub = self._hub, None
        if hub is not None:
            hub.kill()

    def close(self) -> None:
        for link in self._links:
            link.close()
        self.stop()

    def hook(self) -> None:
        """Let the forge send webhooks to the hub."""
        client = gitlab.Gitlab(
            self.forge.url,
            private_token=self.forge.token("senior"),
            ssl_verify=str(self.forge.ca_file),
        )
        with client:
            client.projects.get(1, lazy=True).hooks.create(
                {
                    "url": f"http://127.0.0.1:{self.web}/webhooks",
                    "token": WEBHOOK_SECRET,
                    "push_events": True,
                    "merge_requests_events": True,
                    "note_events": True,
                }
            )

    def agent(self, cluster: str = "dev-1", epoch: str = "e1") -> "AgentEnd":
        link = AgentEnd(f"127.0.0.1:{self.agents}", cluster, epoch, repo=self.forge.clone_url)
        self._links.append(link)
        return link

    def deliver(self, body: dict[str, Any], delivery: str, token: str = WEBHOOK_SECRET) -> int:
        """Post a delivery by hand; return the status."""
        headers = {"X-Gitlab-Token": token, "X-Gitlab-Event-UUID": delivery}
        address = f"http://127.0.0.1:{self.web}/webhooks"
        return requests.post(address, json=body, headers=headers, timeout=15).status_code

    def about(self, number: int, project: str = "") -> dict[str, Any]:
        """A delivery about a merge request."""
        return {
            "object_kind": "merge_request",
            "project": {"id": 1, "path_with_namespace": project or self.forge.project_path},
            "object_attributes": {"iid": number},
        }

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.database, timeout=10)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def scrape(self) -> str:
        return requests.get(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5).text

    # -- the forge ----------------------------------------------------------------------------------------------------

    def bump(self, tag: str = "1.2") -> int:
        """Open the merge request that a bump opens."""
        bot = self.forge.as_user("lockgate-bot")
        branch = f"lockgate/dev/app-{tag}"
        bot.push(branch, {"dev/deployment.yaml": DEPLOYMENT.replace(":1.0", f":{tag}")})
        return int(bot.open(branch, f"Bump app to {tag}"))

    def merge(self, number: int) -> str:
        senior = self.forge.as_user("senior")
        senior.approve(number)
        return str(senior.merge(number))

    def main(self) -> str:
        """The tip of the default branch."""
        argv = ["git", "-C", str(self.forge.repository_dir()), "rev-parse", "main"]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def comments(self, number: int) -> list[str]:
        """What the hub says on a merge request."""
        instance = self.forge.instance
        with instance.lock:
            me = instance.user_named("lockgate-hub").id
            request = self.forge.as_user("senior").merge_request(number)
            said = instance.notes(request)
            return [n.body for n in said if n.author_id == me and not n.system]

    def comment(self, number: int) -> str:
        (only,) = self.comments(number)
        return only

    def deployments(self, sha: str) -> dict[str, str]:
        """Environment → status, of a commit."""
        client = gitlab.Gitlab(
            self.forge.url,
            private_token=self.forge.token("senior"),
            ssl_verify=str(self.forge.ca_file),
        )
        with client:
            found = client.projects.get(1, lazy=True).deployments.list(get_all=True)
        return {d.environment["name"]: d.status for d in found if d.sha == sha}


class AgentEnd:
    """The agent's end of one stream. `got` holds what came, with the time it came at."""

    def __init__(self, address: str, cluster: str, epoch: str, repo: str) -> None:
        self.epoch = epoch
        self.repo = repo
        self.got: list[tuple[float, Any]] = []
        self.ended = threading.Event()
        self._seq = 0
        self._outgoing: queue.Queue[Any] = queue.Queue()
        self._channel = grpc.insecure_channel(address)
        self.say(hello=pb.Hello(agent_id=cluster, epoch=epoch, version="test", cluster=cluster))
        call = rpc.AgentLinkStub(self._channel).Connect(self._messages())
        self._thread = threading.Thread(target=self._listen, args=(call,), daemon=True)
        self._thread.start()

    def _messages(self) -> Iterator[Any]:
        while (message := self._outgoing.get()) is not None:
            yield message

    def _listen(self, call: Any) -> None:
        try:
            for message in call:
                self.got.append((time.perf_counter(), message))
        except grpc.RpcError:
            pass
        finally:
            self.ended.set()

    def say(self, **message: Any) -> None:
        self._outgoing.put(pb.AgentMessage(**message))

    def report(self, sha: str, app: str = "argocd/myapp", **more: Any) -> int:
        """Report an Application, live unless told otherwise; return the report's number."""
        self._seq += 1
        report = pb.ApplicationReport(
            seq=self._seq,
            app=app,
            project="default",
            repo=self.repo,
            path="dev",
            target_revision="HEAD",
            revision=sha,
            change_revision=sha,
            sync=pb.SYNCED,
            health=pb.HEALTHY,
        )
        for name in ("observed_at", "applied_at", "healthy_since"):
            getattr(report, name).GetCurrentTime()
        for name, value in more.items():
            setattr(report, name, value)
        self.say(report=report)
        return self._seq

    def acknowledged(self) -> int:
        acks = [m.ack.seq for _, m in self.got if m.HasField("ack") and m.ack.epoch == self.epoch]
        return max(acks, default=0)

    def hints(self) -> list[tuple[float, Any]]:
        return [(at, m.hint) for at, m in list(self.got) if m.HasField("hint")]

    def resyncs(self) -> int:
        return sum(1 for _, m in list(self.got) if m.HasField("resync"))

    def welcomed(self) -> bool:
        return any(m.HasField("welcome") for _, m in list(self.got))

    def close(self) -> None:
        self._outgoing.put(None)
        self._channel.close()
        self._thread.join(5)
