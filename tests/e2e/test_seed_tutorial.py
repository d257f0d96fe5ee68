"""The seed's story, S2 to S12, manifests verbatim, through processes as users start them; kubectl is the observer.

The tests of this module are one story and run in the order they stand in.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from sandbox.demo_screen import NotYet
from sandbox.demo_views import ClusterView, ForgeView
from sandbox.settings import CLUSTER, PROJECT
from sandbox.stack import EXAMPLES, Stack, script
from tests.eventually import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.story]

APPLICATION, NAMESPACE = "myapp-argo-application", "myapp"
IMAGE = "nanajanashia/argocd-app"


@pytest.fixture(scope="module")
def cluster(stack: Stack) -> ClusterView:
    return ClusterView(stack.plane, NAMESPACE, APPLICATION)


@pytest.fixture(scope="module")
def senior(stack: Stack) -> ForgeView:
    return ForgeView(stack.client("senior"), PROJECT)


@pytest.fixture(scope="module")
def junior(stack: Stack) -> ForgeView:
    return ForgeView(stack.client("junior"), PROJECT)


def test_the_manifests_are_the_seeds_own(shared: Path):
    """Nothing was made easier: byte for byte the seed's files; of the Application only repoURL differs."""
    for name in ("deployment.yaml", "service.yaml"):
        ours = (EXAMPLES / "config-repo" / "dev" / name).read_bytes()
        assert ours == (shared / "seed" / name).read_bytes()
    assert (EXAMPLES / "application.yaml").read_bytes() == (
        shared / "seed" / "application.yaml"
    ).read_bytes()


def test_each_part_is_a_process_of_its_own(stack: Stack):
    pids = {child.pid for child in stack.children.values()}
    assert len(pids) == 3
    assert os.getpid() not in pids


def test_s9_automation_is_off_by_default(stack: Stack, cluster: ClusterView):
    """An Application without syncPolicy is compared, shown OutOfSync and never applied by itself."""
    manifest = stack.application_manifest()
    quiet = manifest[: manifest.index("  syncPolicy:")]
    stack.plane.kubectl("apply", "-f", "-", input=quiet)

    def out_of_sync() -> None:
        status = cluster.application().get("status", {})
        if status.get("sync", {}).get("status") != "OutOfSync":
            raise NotYet(str(status))

    eventually(out_of_sync)
    namespaces = stack.plane.kubectl("get", "namespaces", "-o", "name").split()
    assert f"namespace/{NAMESPACE}" not in namespaces


def test_s10_refresh_compares_and_applies_nothing(stack: Stack, cluster: ClusterView):
    """The refresh annotation is taken away once the comparison was made."""
    stack.plane.kubectl(
        "annotate", "application", APPLICATION, "-n", "argocd", "argocd.argoproj.io/refresh=normal"
    )

    def refreshed() -> None:
        annotations = cluster.application()["metadata"].get("annotations", {})
        if "argocd.argoproj.io/refresh" in annotations:
            raise NotYet("still asked for")

    eventually(refreshed)
    assert cluster.application()["status"]["sync"]["status"] == "OutOfSync"


def test_s5_apply_application_yaml(stack: Stack, cluster: ClusterView):
    """Namespace, two pods of 1.0, Synced and Healthy."""
    stack.plane.kubectl("apply", "-f", "-", input=stack.application_manifest())
    eventually(lambda: cluster.require_pods(f"{IMAGE}:1.0", 2))
    eventually(cluster.require_application)
    stack.plane.kubectl("get", "service", "myapp-service", "-n", NAMESPACE)


def test_s2_s12_one_step_of_ci_opens_one_merge_request(
    stack: Stack, senior: ForgeView, junior: ForgeView
):
    """CI changes the tag through a merge request; a junior may not merge it; the comment says why."""
    said = json.loads(_bump(stack, "1.2"))
    number = said["merge_request"]["number"]
    assert senior.changed_lines(number) == {
        "dev/deployment.yaml": [f"-        image: {IMAGE}:1.0", f"+        image: {IMAGE}:1.2"]
    }
    junior.merge_request(number).approve()
    eventually(lambda: senior.require_comment(number, "0 of 1 approval", "junior"))
    gate = _lockgate(stack, "gate", "--project", PROJECT, "--mr", str(number))
    assert gate.returncode == 3
    assert "junior" in gate.stdout + gate.stderr


def test_bumping_again_changes_nothing(stack: Stack, senior: ForgeView):
    """C3: a rerun is one branch and one merge request."""
    said = json.loads(_bump(stack, "1.2"))
    assert not said["changed"]
    assert len(senior.project.mergerequests.list(state="opened", get_all=True)) == 1


def test_s6_s8_the_merge_becomes_a_rollout_told_on_the_merge_request(
    stack: Stack, cluster: ClusterView, senior: ForgeView
):
    """The webhook's hint makes it a matter of seconds, though the poll is three minutes."""
    (merge_request,) = senior.project.mergerequests.list(state="opened", get_all=True)
    number = merge_request.iid
    senior.merge_request(number).approve()
    eventually(lambda: senior.require_comment(number, "gate is open"))
    eventually(lambda: _merge(senior, number))
    sha = senior.landed_sha(number)
    eventually(lambda: cluster.require_pods(f"{IMAGE}:1.2", 2), deadline_s=30)
    eventually(lambda: cluster.require_application(revision=sha))
    eventually(lambda: senior.require_comment(number, "🟢 Live", CLUSTER, "1.0", "1.2"))
    eventually(lambda: senior.require_deployment("dev/rollout", sha, "success"))
    waited = _lockgate(stack, "wait", "--project", PROJECT, "--mr", str(number), "--until", "live")
    assert waited.returncode == 0, waited.stderr


def test_s7_a_change_by_hand_is_put_back_and_told(
    stack: Stack, cluster: ClusterView, senior: ForgeView
):
    """`kubectl edit`: replicas 2 -> 4."""
    stack.plane.kubectl("scale", "deployment/myapp", "--replicas=4", "-n", NAMESPACE)

    def healed() -> None:
        if cluster.replicas() != 2:
            raise NotYet("still 4")

    eventually(healed)
    eventually(lambda: cluster.require_pods(f"{IMAGE}:1.2", 2))
    merged = senior.project.mergerequests.list(state="merged", get_all=True)
    eventually(lambda: senior.require_comment(merged[0].iid, "replicas", "kubectl", "put back"))


def test_s3_nobody_but_the_agent_spoke_to_the_cluster(stack: Stack):
    """Every write in the application's namespace is the agent's, a controller's, or our own kubectl's."""
    users = {
        event.user
        for event in stack.plane.audit_events()
        if event.namespace == NAMESPACE and event.verb in {"create", "patch", "update", "delete"}
    }
    outsiders = {user for user in users if not user.startswith(("system:", "sandbox", "admin"))}
    assert not outsiders
    assert "system:serviceaccount:lockgate-system:lockgate-agent" in users


def _bump(stack: Stack, tag: str) -> str:
    arguments = ["--image", IMAGE, "--tag", tag, "--env", "dev", "--output", "json"]
    return stack.lockgate("bump", "--project", PROJECT, *arguments)


def _lockgate(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script("lockgate"), *arguments],
        env=stack.ci_environment(),
        cwd=stack.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _merge(forge: ForgeView, number: int) -> None:
    merge_request = forge.merge_request(number)
    if merge_request.state != "merged":
        merge_request.merge(sha=merge_request.sha)
