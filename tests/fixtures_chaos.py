"""A stack whose processes die at named points when asked to, and what must be true once they have come back.

The config repo's `dev` holds the seed's manifests and one ConfigMap, `extra-0`. A change of a person bumps the tag,
adds one ConfigMap and takes the one before away: creating, changing and pruning happen in one sync.
"""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gitlab.exceptions import GitlabError

from sandbox.controlplane.binaries import BinariesUnavailable, ensure_binaries
from sandbox.demo_screen import NotYet
from sandbox.demo_views import MARKER, ClusterView, ForgeView
from sandbox.settings import CLUSTER, PROJECT
from sandbox.stack import EXAMPLES, Stack, StackOptions, script
from tests.eventually import eventually

APPLICATION, NAMESPACE, IMAGE = "myapp-argo-application", "myapp", "nanajanashia/argocd-app"
HUB_POLL_S = 5
INJECT = Path(__file__).resolve().parent / "chaos" / "inject"


@dataclass(slots=True, kw_only=True)
class Failpoints:
    """The folder in which points are armed, and in which the dead leave their mark."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(INJECT), "LOCKGATE_FAILPOINTS": str(self.folder)}

    def arm(self, name: str, condition: str = "") -> None:
        (self.folder / f"{name}.hit").unlink(missing_ok=True)
        (self.folder / name).write_text(condition)

    def disarm(self) -> None:
        for left in self.folder.iterdir():
            left.unlink()

    def hit(self, name: str) -> bool:
        return (self.folder / f"{name}.hit").exists()


@dataclass(slots=True, kw_only=True)
class ChaosWorld:
    """One running stack, the people, and the change at hand."""

    stack: Stack
    points: Failpoints
    cluster: ClusterView
    senior: ForgeView
    junior: ForgeView
    tag: str = "1.0"
    extra: int = 0
    uids: dict[str, str] = field(default_factory=dict)

    # -- people and CI ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Apply the Application and wait until it is live."""
        self.stack.plane.kubectl("apply", "-f", "-", input=self.stack.application_manifest())
        eventually(lambda: self.cluster.require_pods(f"{IMAGE}:{self.tag}", 2))
        eventually(self.cluster.require_application)
        self.uids = self.kept_uids()

    def next_tag(self) -> str:
        return f"1.{int(self.tag.partition('.')[2]) + 1}"

    def bump(self, tag: str) -> subprocess.CompletedProcess[str]:
        """Run the bot as a CI job does; it may die."""
        what = ["--image", IMAGE, "--tag", tag, "--env", "dev", "--output", "json"]
        return subprocess.run(
            [script("lockgate"), "bump", "--project", PROJECT, *what],
            env={**self.stack.ci_environment(), **self.points.environment},
            cwd=self.stack.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def bumped(self, tag: str) -> int:
        """Bump, and return the one open merge request."""
        done = self.bump(tag)
        assert done.returncode == 0, done.stderr
        number = int(json.loads(done.stdout)["merge_request"]["number"])
        assert self.open_ones() == [number]
        return number

    def propose(self, tag: str) -> int:
        """Open a person's merge request: the tag, one ConfigMap more, one less."""
        branch = f"extra-{tag}-{self.extra + 1}"
        path = "dev/deployment.yaml"
        text = self.senior.project.files.get(path, ref="main").decode().decode()
        actions = [
            {"action": "update", "file_path": path, "content": text.replace(self.tag, tag)},
            {
                "action": "create",
                "file_path": f"dev/extra-{self.extra + 1}.yaml",
                "content": config_map(self.extra + 1),
            },
            {"action": "delete", "file_path": f"dev/extra-{self.extra}.yaml"},
        ]
        number = self.change(branch, actions)
        self.extra += 1
        return number

    def change(self, branch: str, actions: list[dict[str, str]]) -> int:
        """Open a merge request with one commit, as a person does; return its number."""
        commit = {"branch": branch, "start_branch": "main", "commit_message": f"Make {branch}"}
        self.senior.project.commits.create({**commit, "actions": actions})
        request = {"source_branch": branch, "target_branch": "main", "title": f"Merge {branch}"}
        return int(self.junior.project.mergerequests.create(request).iid)

    def merge(self, number: int) -> str:
        """Approve and merge as the senior; return the landed commit."""
        self.senior.merge_request(number).approve()

        def merged() -> None:
            request = self.senior.merge_request(number)
            try:
                if request.state != "merged":
                    request.merge(sha=request.sha)
            except GitlabError as refusal:
                raise NotYet(str(refusal)) from refusal

        eventually(merged)
        return self.senior.landed_sha(number)

    def open_ones(self) -> list[int]:
        found = self.senior.project.mergerequests.list(state="opened", get_all=True)
        return [each.iid for each in found]

    # -- dying and coming back --------------------------------------------------------------------------------------

    def await_death(self, part: str, point: str) -> None:
        """Wait until a part has died at a point by its own hand; nobody has restarted it yet."""
        child = self.stack.children[part]

        def dead() -> None:
            if not self.points.hit(point) or child.running():
                raise NotYet(f"{part} has not come to {point}")

        eventually(dead, deadline_s=20)
        assert child.process.returncode == -9

    def restart(self, part: str) -> None:
        """As a supervisor would; whatever children the dead one had go with it."""
        if part in self.stack.children:
            self.stack.kill_part(part)
        self.stack.start_part(part)

    # -- what is there ----------------------------------------------------------------------------------------------

    def image(self) -> str:
        path = "jsonpath={.spec.template.spec.containers[0].image}"
        return self.stack.plane.kubectl("get", "deployment", "myapp", "-n", NAMESPACE, "-o", path)

    def config_maps(self) -> set[str]:
        names = self.stack.plane.kubectl("get", "configmaps", "-n", NAMESPACE, "-o", "name")
        return {n.partition("/")[2] for n in names.split() if "kube-root-ca" not in n}

    def inventory(self) -> str:
        return self.stack.plane.kubectl("get", "inventories", "-n", "lockgate-system", "-o", "json")

    def kept_uids(self) -> dict[str, str]:
        """Return what no change of ours touches by identity: it must never be made anew."""
        found = json.loads(
            self.stack.plane.kubectl("get", "deployment,service", "-n", NAMESPACE, "-o", "json")
        )
        return {
            f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["uid"]
            for item in found["items"]
        }

    def rows(self, statement: str) -> list[Any]:
        """Ask the hub's database, which nobody has open."""
        with closing(sqlite3.connect(self.stack.root / "hub.db")) as database:
            return database.execute(statement).fetchall()

    def our_comments(self, number: int) -> list[str]:
        notes = self.senior.merge_request(number).notes.list(get_all=True)
        return [n.body for n in notes if not n.system and n.body.startswith(MARKER)]

    # -- the law ----------------------------------------------------------------------------------------------------

    def require_converged(self, number: int, sha: str, tag: str) -> None:
        """One merge request, one comment, the right last word, and exactly git's objects in the cluster."""
        self.tag = tag
        eventually(lambda: self.cluster.require_pods(f"{IMAGE}:{tag}", 2))
        eventually(lambda: self.cluster.require_application(revision=sha))
        eventually(lambda: self.senior.require_comment(number, "🟢 Live", CLUSTER, tag))
        for environment in ("dev/rollout", f"dev/{CLUSTER}/argocd/{APPLICATION}"):
            eventually(lambda e=environment: self.senior.require_deployment(e, sha, "success"))  # type: ignore[misc]
        eventually(self._require_nothing_owed)
        assert self.open_ones() == []
        assert len(self.our_comments(number)) == 1
        assert self.config_maps() == {f"extra-{self.extra}"}
        assert self.kept_uids() == self.uids
        inventory = self.inventory()
        assert f"/extra-{self.extra}" in inventory
        # An entry may outlive its object by one sync; it names a UID, so it can delete nothing else.
        stale = [n for n in range(self.extra - 1) if f'/extra-{n}"' in inventory]
        assert stale == []

    def _require_nothing_owed(self) -> None:
        owed = self.rows("select key from outbox")
        undone = self.rows("select id from deliveries where done_at is null")
        if owed or undone:
            raise NotYet(f"still owed: {owed}, {undone}")


def config_map(number: int) -> str:
    return (
        "apiVersion: v1\nkind: ConfigMap\n"
        f"metadata:\n  name: extra-{number}\ndata:\n  number: '{number}'\n"
    )


def config_repo(folder: Path) -> Path:
    """The seed's config repo with one ConfigMap more."""
    shutil.copytree(EXAMPLES / "config-repo", folder)
    (folder / "dev" / "extra-0.yaml").write_text(config_map(0))
    return folder


def run_world(root: Path, **options: Any) -> Iterator[ChaosWorld]:
    """A running stack with its points disarmed; the agent looks at git every three seconds."""
    try:
        ensure_binaries()
    except BinariesUnavailable as missing:
        pytest.skip(f"no Kubernetes binaries: {missing}")
    points = Failpoints(folder=root / "points")
    points.folder.mkdir()
    chosen = StackOptions(
        files=config_repo(root / "files"),
        poll="3s",
        agent_environment=points.environment,
        hub_environment=points.environment,
        **options,
    )
    with Stack(root / "stack", chosen) as stack:
        world = ChaosWorld(
            stack=stack,
            points=points,
            cluster=ClusterView(stack.plane, NAMESPACE, APPLICATION),
            senior=ForgeView(stack.client("senior"), PROJECT),
            junior=ForgeView(stack.client("junior"), PROJECT),
        )
        world.begin()
        yield world


@pytest.fixture(scope="module")
def chaos_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosWorld]:
    """Webhooks do the work: the hub's own poll is too slow to cover for them."""
    yield from run_world(tmp_path_factory.mktemp("chaos"))


@pytest.fixture(scope="module")
def away_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosWorld]:
    """The hub looks at the forge every HUB_POLL_S."""
    yield from run_world(tmp_path_factory.mktemp("away"), hub_poll_s=HUB_POLL_S)
