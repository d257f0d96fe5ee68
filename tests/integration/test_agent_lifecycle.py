"""Deletion, rivals, neighbours, missing rights, and objects that had another manager before."""

import json
from collections.abc import Iterator

import pytest

from tests.agent_world import REPO, SERVICE, World, running

pytestmark = pytest.mark.cluster

FINALIZER = "resources-finalizer.argocd.argoproj.io"


@pytest.fixture
def world(control_plane) -> Iterator[World]:
    with running(control_plane) as world:
        yield world


def started(world: World, **application) -> None:
    world.commit(world.seed_files())
    world.start()
    world.apply_application(**application)
    world.until_status(sync="Synced", health="Healthy")


def inventories(world: World) -> list[str]:
    text = world.kubectl("get", "inventories.lockgate.dev", "-n", "lockgate-system", "-o", "json")
    own = f"{world.apps}/{world.app}"
    return [
        item["metadata"]["name"]
        for item in json.loads(text)["items"]
        if item["spec"]["application"] == own
    ]


def delete_application(world: World) -> None:
    world.kubectl("delete", "applications.argoproj.io", world.app, "-n", world.apps, "--wait=false")


def test_deleting_an_application_with_the_finalizer_deletes_its_objects(world: World):
    """Cascade from the inventory; the Application goes last, and nothing that was not its own goes."""
    started(world, finalizers=[FINALIZER])
    world.kubectl("create", "configmap", "foreign", "-n", world.namespace)
    world.source.down = True  # K20: git is not needed
    delete_application(world)
    world.until(lambda: not world.exists("deployment", "myapp"), "gone")
    world.until(lambda: not world.exists("service", "myapp-service"), "gone")
    world.until_report(lambda r: not hasattr(r, "sync"))
    world.until(lambda: world.app not in world.kubectl(
        "get", "applications.argoproj.io", "-n", world.apps, "-o", "name"), "gone")  # fmt: skip
    assert world.exists("configmap", "foreign")
    assert inventories(world) == []


def test_deleting_an_application_without_the_finalizer_lets_its_objects_be(world: World):
    """As Argo CD: they stay, and nobody manages them any more."""
    started(world)
    delete_application(world)
    gone = world.until_report(lambda r: not hasattr(r, "sync"))
    assert gone.app == f"{world.apps}/{world.app}"
    world.until(lambda: inventories(world) == [], "gone")
    world.kubectl("scale", "deployment", "myapp", "-n", world.namespace, "--replicas=3")
    world.until(
        lambda: world.get("deployment", "myapp")["status"].get("readyReplicas") == 3, "gone"
    )


def test_an_application_deleted_while_nobody_watched_is_let_go(world: World):
    """The inventory without an Application is removed after the Applications have been listed."""
    started(world)
    world.stop()
    delete_application(world)
    world.start()
    world.until(lambda: inventories(world) == [], "gone")
    assert world.exists("deployment", "myapp")


def test_another_controllers_application_is_left_alone_and_said_to_be(world: World):
    """D15: nothing is written, not even the status."""
    world.commit(world.seed_files())
    world.apply_application()
    world.patch_application({"status": {"controllerNamespace": "argocd-system"}})
    world.start()
    told = world.until_report(lambda r: r.conditions)
    assert told.conditions[0].type == "OtherControllerError"
    assert "argocd-system" in told.conditions[0].message
    assert world.application()["status"] == {"controllerNamespace": "argocd-system"}
    assert world.requests() == []
    world.stop()

    world.start(take_over=frozenset({f"{world.apps}/{world.app}"}))
    status = world.until_status(sync="Synced", health="Healthy")
    assert status["controllerNamespace"] == "lockgate-system"


def test_a_field_that_is_not_supported_is_named_and_nothing_is_done(world: World):
    """Never silence (2.5); correcting it is enough."""
    world.commit(world.seed_files())
    world.start()
    helm = {"repoURL": REPO, "path": "dev", "targetRevision": "HEAD", "helm": {"releaseName": "x"}}
    world.apply_application(source=helm)
    status = world.until_status(sync="Unknown")
    (condition,) = status["conditions"]
    assert condition["type"] == "InvalidSpecError"
    assert "spec.source.helm" in condition["message"]
    assert world.requests() == []
    world.patch_application({"spec": {"source": {"helm": None}}})
    world.until_status(sync="Synced", health="Healthy")


def test_the_agents_own_namespace_is_refused(world: World):
    """D14."""
    world.commit(world.seed_files())
    world.start()
    world.apply_application(
        destination={
            "server": "https://kubernetes.default.svc",
            "namespace": "lockgate-system",
        }
    )
    status = world.until_status(sync="Unknown")
    assert "lockgate-system" in status["conditions"][0]["message"]


def test_a_right_the_agent_lacks_is_named_and_nothing_is_done(world: World):
    """D39: Secrets are not in the direct role. K14: their list is refused, so nothing is pruned."""
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: canary-77d0}\n"
    world.commit({**world.seed_files(), "secret.yaml": secret})
    world.start()
    world.apply_application()
    status = world.until_status(sync="Unknown")
    message = status["conditions"][0]["message"]
    assert "secrets" in message
    assert "lockgate-agent" in message
    assert "canary" not in json.dumps(world.application())
    world.push(world.seed_files())
    world.until_status(sync="Synced", health="Healthy")


def test_one_broken_application_does_not_hold_up_another(world: World):
    """Each is looked at by itself; here they share a repository and an agent."""
    world.commit({"a.yaml": "not: [yaml"})
    world.start()
    world.apply_application()
    world.until_status(sync="Unknown")
    other, world.app = world.app, f"{world.app}-b"
    world.source.commit(world.seed_files())
    world.apply_application()
    world.until_status(sync="Synced", health="Healthy")
    world.app = other
    assert world.application()["status"]["sync"]["status"] in {"Unknown", "OutOfSync", "Synced"}


def test_an_object_two_applications_want_belongs_to_the_first(world: World):
    """K13: the second says whose it is, applies the rest, and neither prunes it for the other."""
    started(world)
    first, world.app = world.app, f"{world.app}-b"
    world.apply_application()
    status = world.until_status(sync="OutOfSync")
    shared = [c["message"] for c in status["conditions"] if c["type"] == "SharedResourceWarning"]
    assert f"belongs to Application {world.apps}/{first}" in shared[0]
    delete_application(world)
    world.until_report(lambda r: not hasattr(r, "sync"))
    world.app = first
    world.until_status(sync="Synced", health="Healthy")
    assert world.exists("service", "myapp-service")


def test_a_client_side_applied_object_is_taken_over_so_that_removals_work(world: World):
    """D45, K6: a field removed from git really disappears afterwards."""
    world.kubectl("create", "namespace", world.namespace)
    extra = SERVICE.replace("  ports:", "  sessionAffinity: ClientIP\n  ports:")
    labelled = extra.replace("metadata:", "metadata:\n  labels: {team: a}")
    world.kubectl("apply", "-n", world.namespace, "-f", "-", stdin=labelled)
    world.commit({"service.yaml": labelled})
    world.start()
    world.apply_application()
    world.until_status(sync="Synced", health="Healthy")
    service = world.get("service", "myapp-service")
    assert "kubectl.kubernetes.io/last-applied-configuration" not in str(service)
    world.push({"service.yaml": SERVICE})
    world.until_status(sync="Synced", health="Healthy", revision=world.head())
    service = world.get("service", "myapp-service")
    assert service["spec"]["sessionAffinity"] == "None"
    assert "team" not in service["metadata"]["labels"]


def test_an_update_the_server_refuses_is_tried_again_with_what_is_in_the_way(world: World):
    """Engine 6, 7: RollingUpdate to Recreate is a 422 because of defaulted fields nobody owns."""
    started(world)
    files = world.seed_files()
    strategy = "  strategy:\n    type: Recreate\n  replicas:"
    files["deployment.yaml"] = files["deployment.yaml"].replace("  replicas:", strategy)
    world.push(files)
    world.until_status(sync="Synced", health="Healthy", revision=world.head())
    assert world.get("deployment", "myapp")["spec"]["strategy"] == {"type": "Recreate"}


def test_an_immutable_field_is_explained_and_others_are_applied(world: World):
    """K7: no loop; the condition names the field, the attempts end."""
    started(world)
    files = world.seed_files(tag="1.2")
    files["service.yaml"] = SERVICE.replace("  selector:", "  clusterIP: 10.0.0.77\n  selector:")
    world.push(files)
    status = world.until(
        lambda: (
            (s := world.application()["status"]).get("operationState", {}).get("phase") == "Failed"
            and s
        )
    )
    assert "clusterIP" in status["operationState"]["message"]
    assert [c["type"] for c in status["conditions"]] == ["SyncError"]
    image = world.get("deployment", "myapp")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith(":1.2")
    world.push(world.seed_files(tag="1.2"))
    world.until_status(sync="Synced", health="Healthy", revision=world.head())


def test_a_requested_sync_with_a_retry_is_tried_until_its_attempts_end(world: World):
    """`operation.retry`: it stays Running between attempts, then Failed, and the request is removed."""
    world.commit({"service.yaml": SERVICE.replace("port: 8080", "port: 99999")})
    world.start()
    world.apply_application(automated={})
    world.until_status(sync="OutOfSync")
    retry = {"limit": 1, "backoff": {"duration": "1s", "factor": 1, "maxDuration": "1s"}}
    world.patch_application({"operation": {"sync": {}, "retry": retry}})
    waiting = world.until_report(lambda r: r.operation and r.operation.finished_at)
    assert waiting.operation.phase == "Running"
    world.until(lambda: "operation" not in world.application())
    assert world.application()["status"]["operationState"]["phase"] == "Failed"
    tries = [e for e in world.requests() if (e.verb, e.resource) == ("patch", "services")]
    assert len(tries) == 2
