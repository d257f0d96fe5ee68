"""Health as Argo CD judges it, kind by kind, and the worst of all (contract: Health)."""

import pytest

from agent.core.health import Assessed, HealthResult, aggregate, assess, find_problems
from agent.core.health.aggregate import is_ignored
from agent.core.health.assess import is_workload
from agent.core.health.result import degraded, healthy, progressing
from agent.core.objects import ObjectKey
from agent.core.states import Health

APIS = {"Pod": "v1", "Service": "v1", "PersistentVolumeClaim": "v1", "Job": "batch/v1"}


def obj(
    kind: str, spec: dict | None = None, status: dict | None = None, generation: int = 1
) -> dict:
    return {
        "apiVersion": APIS.get(kind, "apps/v1"),
        "kind": kind,
        "metadata": {"name": "x", "generation": generation},
        "spec": spec or {},
        "status": {"observedGeneration": 1, **(status or {})},
    }


def judged(*args, **kwargs) -> str:
    found = assess(obj(*args, **kwargs))
    assert found is not None
    return str(found.health)


def counts(total: int, updated: int, available: int) -> dict:
    return {"replicas": total, "updatedReplicas": updated, "availableReplicas": available}


def pod_status(phase: str = "Running", **container) -> dict:
    return {"phase": phase, "containerStatuses": [container, "odd"]}


def waiting(reason: str, **more) -> dict:
    return {"name": "c", "state": {"waiting": {"reason": reason, **more}}}


DEADLINE = {"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}
ONE = {"replicas": 1}
PARTITION = {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}}
READY = {"conditions": [{"type": "Ready", "status": "True"}]}
TERMINATED = {"lastState": {"terminated": {"exitCode": 1}}}


@pytest.mark.parametrize(
    ("kind", "spec", "status", "health"),
    [
        ("Deployment", {"paused": True}, {}, "Suspended"),
        ("Deployment", {}, {"observedGeneration": 0}, "Progressing"),
        ("Deployment", {}, DEADLINE, "Degraded"),
        ("Deployment", {"replicas": 2}, counts(2, 1, 1), "Progressing"),
        ("Deployment", ONE, counts(2, 1, 1), "Progressing"),
        ("Deployment", ONE, counts(1, 1, 0), "Progressing"),
        ("Deployment", {}, counts(1, 1, 1), "Healthy"),
        ("Deployment", {"replicas": 0}, {}, "Healthy"),
        ("Deployment", {"replicas": "odd"}, counts(1, 1, 1), "Healthy"),
        ("ReplicaSet", {}, {"observedGeneration": 0}, "Progressing"),
        (
            "ReplicaSet",
            {},
            {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]},
            "Degraded",
        ),
        ("ReplicaSet", ONE, {"availableReplicas": 0}, "Progressing"),
        ("ReplicaSet", ONE, {"availableReplicas": 1}, "Healthy"),
        ("StatefulSet", ONE, {"observedGeneration": 0}, "Progressing"),
        ("StatefulSet", ONE, {"readyReplicas": 0}, "Progressing"),
        ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, {"readyReplicas": 1}, "Healthy"),
        ("StatefulSet", PARTITION, {"readyReplicas": 3, "updatedReplicas": 0}, "Progressing"),
        (
            "StatefulSet",
            PARTITION,
            {"readyReplicas": 3, "updatedReplicas": 1, "updateRevision": "b"},
            "Healthy",
        ),
        ("StatefulSet", {"updateStrategy": {"rollingUpdate": {}}}, {"readyReplicas": 1}, "Healthy"),
        (
            "StatefulSet",
            ONE,
            {"readyReplicas": 1, "updateRevision": "b", "currentRevision": "a"},
            "Progressing",
        ),
        (
            "StatefulSet",
            ONE,
            {"readyReplicas": 1, "updateRevision": "a", "currentRevision": "a"},
            "Healthy",
        ),
        ("DaemonSet", {}, {"observedGeneration": 0}, "Progressing"),
        (
            "DaemonSet",
            {"updateStrategy": {"type": "OnDelete"}},
            {"desiredNumberScheduled": 1},
            "Healthy",
        ),
        (
            "DaemonSet",
            {},
            {"desiredNumberScheduled": 2, "updatedNumberScheduled": 1},
            "Progressing",
        ),
        (
            "DaemonSet",
            {},
            {"desiredNumberScheduled": 1, "updatedNumberScheduled": 1},
            "Progressing",
        ),
        (
            "DaemonSet",
            {},
            {"desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1},
            "Healthy",
        ),
        ("Service", {}, {}, "Healthy"),
        ("Service", {"type": "LoadBalancer"}, {}, "Progressing"),
        (
            "Service",
            {"type": "LoadBalancer"},
            {"loadBalancer": {"ingress": [{"ip": "1"}]}},
            "Healthy",
        ),
        ("Job", {}, {}, "Progressing"),
        ("Job", {}, {"conditions": [{"type": "Failed", "status": "True"}]}, "Degraded"),
        ("Job", {}, {"conditions": [{"type": "Suspended", "status": "True"}]}, "Suspended"),
        ("Job", {}, {"conditions": [{"type": "Suspended", "status": "False"}]}, "Healthy"),
        ("Job", {}, {"conditions": [{"type": "Complete", "status": "True"}]}, "Healthy"),
        ("PersistentVolumeClaim", {}, {"phase": "Lost"}, "Degraded"),
        ("PersistentVolumeClaim", {}, {"phase": "Pending"}, "Progressing"),
        ("PersistentVolumeClaim", {}, {"phase": "Bound"}, "Healthy"),
        ("PersistentVolumeClaim", {}, {}, "Unknown"),
        ("Pod", {}, pod_status("Pending"), "Progressing"),
        ("Pod", {}, pod_status("Pending", **waiting("ImagePullBackOff")), "Degraded"),
        ("Pod", {}, pod_status("Pending", **waiting("CreateContainerConfigError")), "Degraded"),
        ("Pod", {}, pod_status("Pending", **waiting("ErrImagePull", message="no")), "Degraded"),
        ("Pod", {}, pod_status("Pending", **waiting("ContainerCreating")), "Progressing"),
        (
            "Pod",
            {"restartPolicy": "Never"},
            pod_status("Pending", **waiting("ErrImagePull")),
            "Progressing",
        ),
        ("Pod", {}, pod_status("Succeeded"), "Healthy"),
        ("Pod", {}, pod_status("Failed"), "Degraded"),
        ("Pod", {"restartPolicy": "OnFailure"}, pod_status(), "Progressing"),
        ("Pod", {}, {**pod_status(), **READY}, "Healthy"),
        ("Pod", {}, pod_status(**TERMINATED), "Degraded"),
        ("Pod", {}, pod_status(), "Progressing"),
        ("Pod", {}, {}, "Unknown"),
    ],
)
def test_health_of_a_kind(kind, spec, status, health):
    assert judged(kind, spec, status) == health


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"message": "evicted"}, "evicted"),
        (
            {"containerStatuses": [{"name": "c", "state": {"terminated": {"message": "boom"}}}]},
            "boom",
        ),
        (
            {
                "containerStatuses": [
                    {"name": "c", "state": {"terminated": {"reason": "OOMKilled"}}}
                ]
            },
            "OOMKilled",
        ),
        (
            {"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3}}}]},
            'container "c" failed with exit code 3',
        ),
        ({"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 0}}}]}, ""),
    ],
)
def test_a_failed_pod_says_why(status, message):
    found = assess(obj("Pod", {}, {"phase": "Failed", **status}))
    assert found == HealthResult(health=Health.DEGRADED, message=message)


def test_a_deleted_object_is_progressing_and_unknown_kinds_have_no_health():
    deleted = obj("Deployment")
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert assess(deleted) == progressing("Pending deletion")
    assert assess({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}) is None
    assert (is_workload("apps", "Deployment"), is_workload("", "Service")) == (True, False)


def item(
    name: str, health: HealthResult | None, kind: str = "Deployment", group: str = "apps", **more
) -> Assessed:
    found = ObjectKey(group=group, kind=kind, namespace="n", name=name)
    return Assessed(key=found, live=more.pop("live", True), health=health, **more)


def test_an_application_is_as_healthy_as_its_worst_object_and_names_it():
    found = aggregate([item("a", healthy()), item("b", progressing("1 of 2")), item("c", None)])
    assert found == HealthResult(health=Health.PROGRESSING, message="Deployment n/b: 1 of 2")


def test_what_does_not_count_does_not_count():
    """Ignored objects, missing ones, and child Applications of which nothing is known."""
    child = HealthResult(health=Health.UNKNOWN)
    found = aggregate(
        [
            item("a", healthy()),
            item(
                "b",
                degraded("x"),
                ignored=is_ignored({"argocd.argoproj.io/ignore-healthcheck": "true"}),
            ),
            item("c", None, live=False),
            item("d", child, "Application", "argoproj.io"),
        ]
    )
    assert found == HealthResult(health=Health.HEALTHY)


def test_if_nothing_expected_is_live_the_application_is_missing():
    assert aggregate([item("a", None, live=False)]).health is Health.MISSING
    assert aggregate([]).health is Health.HEALTHY


def test_many_causes_are_counted():
    found = aggregate([item(f"x{i}", degraded("")) for i in range(5)])
    assert found.message == "Deployment n/x0; Deployment n/x1; Deployment n/x2 (and 2 more)"


def pod(name: str, *containers: dict, **metadata) -> dict:
    return {
        "metadata": {"name": name, "namespace": "n", **metadata},
        "status": {"containerStatuses": list(containers)},
    }


def event(name: str, message: str, kind: str = "Warning", **times) -> dict:
    involved = {"kind": "Pod", "namespace": "n", "name": name}
    return {"involvedObject": involved, "type": kind, "message": message, "metadata": {}, **times}


def test_problems_are_named_worst_first_with_the_newest_warning_scrubbed():
    pods = [
        pod("pull", waiting("ImagePullBackOff", message="Back-off pulling")),
        pod("crash", waiting("CrashLoopBackOff"), waiting("ErrImagePull")),
        pod("fine"),
        pod("creating", waiting("ContainerCreating")),
        pod("going", waiting("CrashLoopBackOff"), deletionTimestamp="t"),
    ]
    events = [
        event("crash", "newest hunter2", lastTimestamp="2026-01-03T00:00:00Z"),
        event("crash", "older", lastTimestamp="2026-01-02T00:00:00Z"),
        event("crash", "normal", "Normal", lastTimestamp="2026-01-04T00:00:00Z"),
        event("pull", "", eventTime="2026-01-02T00:00:00Z"),
        {"involvedObject": {"kind": "Node"}},
    ]
    found = find_problems(pods, events, lambda text: text.replace("hunter2", "***"))
    assert [(p.resource, p.reason, p.message) for p in found] == [
        ("Pod n/crash", "CrashLoopBackOff", "newest ***"),
        ("Pod n/pull", "ImagePullBackOff", "Back-off pulling"),
    ]


def test_a_crashing_container_without_words_says_its_exit_code():
    pods = [
        pod("a", {**waiting("CrashLoopBackOff"), **TERMINATED}),
        pod("b", waiting("CrashLoopBackOff")),
    ]
    assert [p.message for p in find_problems(pods, [], str)] == ["last exit code 1", ""]


def test_at_most_ten_problems_are_told_and_messages_are_cut():
    pods = [pod(f"p{i:02}", waiting("CrashLoopBackOff", message="x" * 999)) for i in range(12)]
    found = find_problems(pods, [], str)
    assert len(found) == 10
    assert {len(problem.message) for problem in found} == {256}
