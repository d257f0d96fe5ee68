"""The agent alone, on a real control plane, with the rights it ships: the seed's S5 to S10."""

from collections.abc import Iterator

import pytest

from tests.agent_world import World, running

pytestmark = pytest.mark.cluster


@pytest.fixture
def world(control_plane) -> Iterator[World]:
    with running(control_plane) as world:
        yield world


def test_an_application_appears_and_becomes_healthy(world: World):
    """S5: the namespace is created, two pods run, Synced and Healthy."""
    world.commit(world.seed_files())
    world.start()
    world.apply_application()
    world.until_status(sync="Synced", health="Healthy")
    deployment = world.get("deployment", "myapp")
    assert deployment["status"]["readyReplicas"] == 2
    assert deployment["metadata"]["labels"]["lockgate.dev/instance"].startswith(world.app)
    status = world.application()["status"]
    assert status["operationState"]["phase"] == "Succeeded"
    assert {item["kind"] for item in status["resources"]} == {"Deployment", "Service"}
    assert status["summary"]["images"] == ["nanajanashia/argocd-app:1.0"]
    report = world.reports[-1]
    assert (report.replicas_ready, report.replicas_desired) == (2, 2)
    assert report.healthy_since is not None
    assert report.change_revision == world.head()


def test_a_commit_rolls_out_and_says_what_was_before(world: World):
    """S6: OutOfSync is told, then Synced; the pods run 1.2; the report names the previous change and image."""
    first = world.commit(world.seed_files())
    world.start()
    world.apply_application()
    world.until_status(sync="Synced", health="Healthy")
    world.mark()
    second = world.push(world.seed_files(tag="1.2"))
    world.until_report(lambda r: r.sync == "OutOfSync" and r.operation.phase == "Running")
    world.until_status(sync="Synced", health="Healthy", revision=second)
    last = world.until_report(lambda r: r.health == "Healthy" and r.revision == second)
    assert (last.change_revision, last.previous_revision) == (second, first)
    (image,) = last.images
    assert (image.image, image.previous) == (
        "nanajanashia/argocd-app:1.2",
        "nanajanashia/argocd-app:1.0",
    )
    container = world.get("deployment", "myapp")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"].endswith(":1.2")
    history = world.application()["status"]["history"]
    assert [entry["revision"] for entry in history] == [first, second]


def test_a_hand_made_change_is_put_back_with_one_write_and_no_read(world: World):
    """S7, claim 5: replicas 2 to 4 by `kubectl scale`; healed, and the report names who, what, was and became."""
    world.commit(world.seed_files())
    world.start()
    world.apply_application()
    world.until_status(sync="Synced", health="Healthy")
    world.mark()
    before = len(world.requests())
    world.kubectl("scale", "deployment", "myapp", "-n", world.namespace, "--replicas=4")
    healed = world.until_report(lambda r: r.drift and r.drift[0].healed_at is not None)
    drift = healed.drift[0]
    assert (drift.field, drift.manager) == ("spec.replicas", "kubectl")
    assert (drift.was, drift.became) == ("2", "4")
    world.until(lambda: world.get("deployment", "myapp")["status"].get("replicas") == 2)
    world.until_status(sync="Synced", health="Healthy")
    made = [(event.verb, event.resource) for event in world.requests()[before:]]
    # Pods are followed while the Deployment is not Healthy (D13): that is a watch, not a read.
    assert made == [("patch", "deployments")]
    message = world.application()["status"]["operationState"]["message"]
    assert "spec.replicas is 4, git states 2, changed by kubectl" in message


def test_nothing_is_applied_pruned_or_healed_unless_asked(world: World):
    """S9: automatic sync, self-heal and prune are off by default. S10: refresh compares, sync applies."""
    world.commit(world.seed_files())
    world.start()
    world.apply_application(automated={})
    world.until_status(sync="OutOfSync", health="Missing")
    assert not [event for event in world.requests() if event.verb not in {"get", "list"}]

    world.patch_application({"operation": {"sync": {}}})
    world.until_status(sync="Synced", health="Healthy")
    assert "operation" not in world.application()

    world.kubectl("scale", "deployment", "myapp", "-n", world.namespace, "--replicas=3")
    status = world.until_status(sync="OutOfSync")
    (drift,) = [c["message"] for c in status["conditions"] if c["type"] == "DriftWarning"]
    assert "spec.replicas is 3, git states 2, changed by kubectl" in drift
    second = world.commit({"service.yaml": world.seed_files()["service.yaml"]})
    annotation = {"argocd.argoproj.io/refresh": "normal"}
    world.patch_application({"metadata": {"annotations": annotation}})
    world.until_status(sync="OutOfSync", revision=second)
    world.until(lambda: "annotations" not in world.application()["metadata"] or not (
        world.application()["metadata"]["annotations"].get("argocd.argoproj.io/refresh")
    ))  # fmt: skip
    assert world.get("deployment", "myapp")["spec"]["replicas"] == 3

    world.patch_application({"operation": {"sync": {"prune": True}}})
    world.until_status(sync="Synced", revision=second)
    world.until(lambda: not world.exists("deployment", "myapp"))


def test_drift_is_seen_but_left_where_self_heal_is_off(world: World):
    """Auto-sync without selfHeal: the same revision is not applied twice."""
    world.commit(world.seed_files())
    world.start()
    world.apply_application(automated={"prune": True})
    world.until_status(sync="Synced", health="Healthy")
    world.kubectl("scale", "deployment", "myapp", "-n", world.namespace, "--replicas=3")
    world.until_status(sync="OutOfSync", health="Healthy")
    assert world.get("deployment", "myapp")["spec"]["replicas"] == 3
    world.kubectl("scale", "deployment", "myapp", "-n", world.namespace, "--replicas=2")
    status = world.until_status(sync="Synced", health="Healthy")
    assert "conditions" not in status


def test_a_deleted_object_comes_back(world: World):
    """A deletion is drift; one read tells that it is really gone (D13)."""
    world.commit(world.seed_files())
    world.start()
    world.apply_application()
    world.until_status(sync="Synced", health="Healthy")
    before = len(world.requests())
    world.kubectl("delete", "service", "myapp-service", "-n", world.namespace)
    world.until(lambda: world.exists("service", "myapp-service"))
    world.until_status(sync="Synced", health="Healthy")
    made = [(event.verb, event.resource) for event in world.requests()[before:]]
    assert made == [("get", "services"), ("patch", "services")]


def test_taking_our_label_off_does_not_lose_the_object(world: World):
    """The watch says it is gone; a read says that it is not; one write puts the label back."""
    world.commit(world.seed_files())
    world.start()
    world.apply_application()
    world.until_status(sync="Synced", health="Healthy")
    uid = world.get("service", "myapp-service")["metadata"]["uid"]
    world.kubectl(
        "label", "service", "myapp-service", "-n", world.namespace, "lockgate.dev/instance-"
    )
    world.until(
        lambda: (
            "lockgate.dev/instance" in world.get("service", "myapp-service")["metadata"]["labels"]
            if world.get("service", "myapp-service")["metadata"].get("labels")
            else False
        )
    )
    assert world.get("service", "myapp-service")["metadata"]["uid"] == uid


def test_what_others_add_is_named_and_stays(world: World):
    """D47: an extra environment variable is not in git and not ours to remove."""
    world.commit(world.seed_files())
    world.start()
    world.apply_application()
    world.until_status(sync="Synced", health="Healthy")
    world.mark()
    world.kubectl("set", "env", "deployment/myapp", "-n", world.namespace, "EXTRA=1")
    told = world.until_report(lambda r: r.extra)
    assert "kubectl-set added spec.template.spec.containers[myapp].env" in told.extra[0]
    world.until_status(sync="Synced", health="Healthy")
    assert "EXTRA" in world.kubectl(
        "get", "deployment", "myapp", "-n", world.namespace, "-o", "yaml"
    )


def test_a_crashing_image_is_told_with_the_pod_and_its_event(world: World):
    """S11: which pod, why; `status.health` keeps the contract's value until the deadline (D11)."""
    world.commit(world.seed_files())
    world.start()
    world.apply_application()
    world.until_status(sync="Synced", health="Healthy")
    world.mark()
    world.push(world.seed_files(tag="1.3-broken"))
    told = world.until_report(lambda r: r.problems)
    assert told.problems[0].reason == "CrashLoopBackOff"
    assert told.problems[0].resource.startswith(f"Pod {world.namespace}/myapp-")
    assert told.problems[0].message
    assert told.health == "Progressing"
    good = world.push(world.seed_files(tag="1.2"))
    world.until_status(sync="Synced", health="Healthy", revision=good)
    world.until_report(lambda r: r.revision == good and r.health == "Healthy" and not r.problems)
