"""What the demo asserts with: the cluster as kubectl sees it, the forge as its API tells it. Nothing of our own is asked."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from gitlab import Gitlab
from gitlab.v4.objects import Project, ProjectMergeRequest

from sandbox.controlplane.plane import ControlPlane
from sandbox.demo_screen import NotYet, StepFailed

MARKER = "<!-- lockgate:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    name: str
    image: str
    ready: bool
    reason: str  # why its container waits


class ClusterView:
    """One Application's workload, through kubectl."""

    def __init__(self, plane: ControlPlane, namespace: str, application: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self.application_name = application

    def pods(self) -> list[Pod]:
        found = self.plane.kubectl("get", "pods", "-n", self.namespace, "-o", "json")
        return [
            _pod(item)
            for item in json.loads(found)["items"]
            if "deletionTimestamp" not in item["metadata"]
        ]

    def require_pods(self, image: str, count: int) -> None:
        """Exactly `count` pods, all of `image` and Ready."""
        pods = self.pods()
        good = [p for p in pods if p.ready and p.image == image]
        if not len(good) == len(pods) == count:
            raise NotYet(f"pods {[(p.image, 'ready' if p.ready else p.reason) for p in pods]}")

    def replicas(self) -> int:
        path = "jsonpath={.spec.replicas}"
        return int(
            self.plane.kubectl("get", "deployment", "myapp", "-n", self.namespace, "-o", path)
        )

    def application(self) -> dict[str, Any]:
        said = self.plane.kubectl(
            "get", "application", self.application_name, "-n", "argocd", "-o", "json"
        )
        found: dict[str, Any] = json.loads(said)
        return found

    def require_application(self, *, revision: str = "", health: str = "Healthy") -> None:
        """Synced with `revision` (any, where empty) and of that health."""
        status = self.application().get("status", {})
        sync, seen = status.get("sync", {}), status.get("health", {}).get("status")
        if sync.get("status") != "Synced" or seen != health:
            why = [c.get("message", "") for c in status.get("conditions", ())]
            raise NotYet(f"Application is {sync.get('status')} and {seen} {why or ''}")
        if revision and sync.get("revision") != revision:
            raise NotYet(f"Application is Synced at {sync.get('revision')}, not {revision}")


def _pod(item: dict[str, Any]) -> Pod:
    statuses = item["status"].get("containerStatuses") or [{}]
    conditions = item["status"].get("conditions", ())
    return Pod(
        name=item["metadata"]["name"],
        image=item["spec"]["containers"][0]["image"],
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in conditions),
        reason=statuses[0].get("state", {}).get("waiting", {}).get("reason", "Pending"),
    )


class ForgeView:
    """The config repo's project, as one person sees and changes it through the forge's API."""

    def __init__(self, client: Gitlab, project: str) -> None:
        self.client = client
        self.project: Project = client.projects.get(project)

    def merge_request(self, number: int) -> ProjectMergeRequest:
        return self.project.mergerequests.get(number)

    def require_only_open(self, number: int) -> ProjectMergeRequest:
        found = self.project.mergerequests.list(state="opened", get_all=True)
        if [m.iid for m in found] != [number]:
            raise StepFailed(f"one open merge request, !{number}", f"{[m.iid for m in found]}")
        return self.merge_request(number)

    def changed_lines(self, number: int) -> dict[str, list[str]]:
        """The lines a merge request removes and adds, by file."""
        changes = self.merge_request(number).changes()
        assert isinstance(changes, dict)
        return {
            change["new_path"]: [
                line
                for line in change["diff"].splitlines()
                if line.startswith(("-", "+")) and not line.startswith(("---", "+++"))
            ]
            for change in changes["changes"]
        }

    def comment(self, number: int) -> str:
        """Our one comment, or NotYet; more than one fails the story."""
        notes = self.merge_request(number).notes.list(get_all=True)
        ours = [n.body for n in notes if not n.system and n.body.startswith(MARKER)]
        if len(ours) > 1:
            raise StepFailed(f"one comment on !{number}", f"{len(ours)} comments")
        if not ours:
            raise NotYet(f"no comment of Lockgate on !{number}")
        return str(ours[0])

    def require_comment(self, number: int, *words: str) -> str:
        """Our one comment with all of these words in it."""
        body = self.comment(number)
        missing = [word for word in words if word not in body]
        if missing:
            raise NotYet(f"the comment of !{number} does not say {missing}:\n{body}")
        return body

    def require_deployment(self, environment: str, sha: str, status: str) -> None:
        """The newest deployment of a commit to an environment has this status."""
        found = self.project.deployments.list(environment=environment, order_by="id", sort="desc")
        seen = [d.status for d in found if d.sha == sha]
        if not seen or seen[0] != status:
            raise NotYet(f"{environment} at {sha[:8]}: {seen or 'no deployment'}, not {status}")

    def landed_sha(self, number: int) -> str:
        merged = self.merge_request(number)
        if merged.state != "merged":
            raise NotYet(f"!{number} is {merged.state}")
        return str(merged.merge_commit_sha or merged.squash_commit_sha or merged.sha)

    def page(self, number: int) -> str:
        """The merge request's page as a browser gets it."""
        with urllib.request.urlopen(self.merge_request(number).web_url, timeout=10) as answer:
            return str(answer.read().decode())
