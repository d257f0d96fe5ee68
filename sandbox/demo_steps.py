"""The six steps of the seed's story, each on real parts and each asserted from outside (kubectl, the forge's API)."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sandbox.demo_people import People
from sandbox.demo_screen import NotYet, Screen, StepFailed
from sandbox.demo_views import ClusterView, ForgeView
from sandbox.demo_watch import DeploymentWatch, Sighting
from sandbox.settings import CLUSTER, PROJECT
from sandbox.stack import Stack

APPLICATION = "myapp-argo-application"
NAMESPACE = "myapp"
IMAGE = "nanajanashia/argocd-app"
PLACE = f"dev/{CLUSTER}/argocd/{APPLICATION}"
TIMES = ("bump → MR", "merge → applied", "applied → healthy", "drift → healed")


@dataclass(slots=True, kw_only=True)
class Story:
    """The story so far. Steps run in order; each leaves what the next one builds on."""

    stack: Stack
    screen: Screen
    cluster: ClusterView
    forge: ForgeView  # as the senior sees it
    people: People
    times: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in TIMES})
    first: int = 0  # the merge request of 1.2
    landed: str = ""  # the commit it became
    watch: DeploymentWatch | None = None

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        return [
            ("An Argo CD Application, applied as it is", self.apply_application),
            ("CI built 1.2: one merge request, one line", self.bump),
            ("Junior's approval is not enough; the senior merges", self.approve_and_merge),
            ("The cluster follows, the merge request tells", self.roll_out),
            ("Somebody scales by hand", self.drift),
            ("1.3-broken goes wrong, and is reverted", self.break_and_revert),
        ]

    def play(self) -> None:
        try:
            for number, (title, step) in enumerate(self.steps(), start=1):
                self.screen.heading(number, title)
                step()
        finally:
            if self.watch is not None:
                self.watch.close()

    # -- 1 ----------------------------------------------------------------------------------------------------------

    def apply_application(self) -> None:
        self.screen.command("kubectl apply -f application.yaml")
        self.stack.plane.kubectl("apply", "-f", "-", input=self.stack.application_manifest())
        self.screen.awaits(
            "namespace myapp with 2 pods of 1.0",
            lambda: self.cluster.require_pods(f"{IMAGE}:1.0", 2),
        )
        self.stack.plane.kubectl("get", "namespace", NAMESPACE)
        self.screen.awaits("Synced and Healthy", self.cluster.require_application)
        self.watch = DeploymentWatch(self.stack.plane, NAMESPACE, "myapp")

    # -- 2 ----------------------------------------------------------------------------------------------------------

    def bump(self) -> None:
        self.first = self._bump("1.2", was="1.0")

    def _bump(self, tag: str, *, was: str) -> int:
        """Run CI's one step; exactly one line of one file changes in exactly one merge request."""
        arguments = ["--image", IMAGE, "--tag", tag, "--env", "dev", "--output", "json"]
        self.screen.command(f"lockgate bump --project {PROJECT} {' '.join(arguments)}")
        begun = time.monotonic()
        said = json.loads(self.stack.lockgate("bump", "--project", PROJECT, *arguments))
        seconds = time.monotonic() - begun
        self.times["bump → MR"].append(seconds)
        number = int(said["merge_request"]["number"])
        found = self.forge.require_only_open(number)
        lines = self.forge.changed_lines(number)
        expected = {
            "dev/deployment.yaml": [
                f"-        image: {IMAGE}:{was}",
                f"+        image: {IMAGE}:{tag}",
            ]
        }
        if lines != expected:
            raise StepFailed(f"!{number} changes one line: {expected}", str(lines))
        self.screen.done(f"!{number} “{found.title}” changes one line", seconds)
        self.screen.say(f"→ {found.web_url}")
        return number

    # -- 3 ----------------------------------------------------------------------------------------------------------

    def approve_and_merge(self) -> None:
        number = self.first
        self.screen.awaits(
            "the comment says what is missing",
            lambda: self.forge.require_comment(number, "Waiting", "0 of 1 approval"),
        )
        self.people.junior_approves(number)
        self.people.junior_cannot_merge(number)
        self.screen.awaits(
            "the comment and the page say why that is not enough",
            lambda: self._says_why(number),
        )
        self.cluster.require_pods(f"{IMAGE}:1.0", 2)
        self.landed = self.people.senior_merges(number)

    def _says_why(self, number: int) -> None:
        body = self.forge.require_comment(number, "Waiting", "0 of 1 approval", "junior")
        page = self.forge.page(number)
        if "0 of 1 approval" not in page:
            raise NotYet(f"the page does not show what the comment says: {body}")

    # -- 4 ----------------------------------------------------------------------------------------------------------

    def roll_out(self) -> None:
        self._live(self.first, self.landed, f"{IMAGE}:1.2")

    def _live(self, number: int, sha: str, image: str) -> None:
        """From the merge to the last word of the merge request, for a change that works."""
        applied = self._measure_applied(number, image)
        self.screen.awaits(f"2 pods of {image}", lambda: self.cluster.require_pods(image, 2))
        healthy = self._sighting("rollout", lambda s: s.image == image and s.rolled_out, applied.at)
        self.times["applied → healthy"].append(healthy.at - applied.at)
        self.screen.awaits(
            f"Synced at {sha[:8]} and Healthy",
            lambda: self.cluster.require_application(revision=sha),
        )
        self.screen.awaits(
            f"the comment of !{number} says live, where and since when",
            lambda: self.forge.require_comment(
                number, "🟢 Live", CLUSTER, APPLICATION, "after the merge"
            ),
        )
        self._deployments(sha, "success")

    def _measure_applied(self, number: int, image: str) -> Sighting:
        merged_at = _instant(self.forge.merge_request(number).merged_at)
        applied = self._sighting(f"apply of {image}", lambda s: s.image == image, merged_at)
        self.times["merge → applied"].append(applied.at - merged_at)
        return applied

    def _deployments(self, sha: str, status: str) -> None:
        for environment in (PLACE, "dev/rollout"):
            self.screen.awaits(
                f"deployment {environment}: {status}",
                lambda e=environment: self.forge.require_deployment(e, sha, status),  # type: ignore[misc]
            )

    def _sighting(self, what: str, test: Callable[[Sighting], bool], since: float) -> Sighting:
        watch = self.watch
        assert watch is not None
        return self.screen.awaits(
            f"{what} seen at the API server", lambda: watch.first(what, test, since)
        )

    # -- 5 ----------------------------------------------------------------------------------------------------------

    def drift(self) -> None:
        begun = time.time()
        self.screen.command("kubectl scale deployment/myapp --replicas=4")
        self.stack.plane.kubectl(
            "scale", "deployment/myapp", "--replicas=4", "-n", NAMESPACE, "--current-replicas=2"
        )
        drifted = self._sighting("drift to 4", lambda s: s.replicas == 4, begun)
        healed = self._sighting("heal to 2", lambda s: s.replicas == 2, drifted.at)
        self.times["drift → healed"].append(healed.at - drifted.at)
        self.screen.awaits("2 pods again", lambda: self.cluster.require_pods(f"{IMAGE}:1.2", 2))
        if self.cluster.replicas() != 2:
            raise StepFailed("2 replicas", str(self.cluster.replicas()))
        self.screen.awaits(
            f"the comment of !{self.first} tells who changed what",
            lambda: self.forge.require_comment(self.first, "replicas", "kubectl", "put back"),
        )

    # -- 6 ----------------------------------------------------------------------------------------------------------

    def break_and_revert(self) -> None:
        number = self._bump("1.3-broken", was="1.2")
        sha = self.people.senior_merges(number)
        self._measure_applied(number, f"{IMAGE}:1.3-broken")
        pod = self.screen.awaits("a crash-looping pod", self._crash_loops)
        self.screen.awaits(
            f"the comment of !{number} says Degraded, which pod and why",
            lambda: self.forge.require_comment(
                number, "🔴 Degraded", "CrashLoopBackOff", pod, "ack-off restarting"
            ),
        )
        self._deployments(sha, "failed")
        revert = self.people.senior_reverts(number, sha)
        self.screen.done(f"the senior opened !{revert}, the revert")
        self._live(revert, self.people.senior_merges(revert), f"{IMAGE}:1.2")

    def _crash_loops(self) -> str:
        pods = [p for p in self.cluster.pods() if p.reason == "CrashLoopBackOff"]
        if not pods:
            raise NotYet(f"{self.cluster.pods()}")
        return pods[0].name


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
