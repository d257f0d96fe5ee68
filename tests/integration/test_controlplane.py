"""The sandbox's control plane is a real one: rollouts, garbage collection, RBAC, tokens; only containers are played."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.controlplane.plane import ControlPlane, KubectlError

pytestmark = pytest.mark.cluster
DEADLINE_S = 30.0


def eventually(what: str, check: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    end = time.monotonic() + deadline_s
    while not (found := check()):
        assert time.monotonic() < end, f"not in {deadline_s:.0f} s: {what}"
        time.sleep(0.05)
    return found


def pods(plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    return json.loads(plane.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]


def ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def waiting(pod: dict[str, Any]) -> str | None:
    statuses = pod["status"].get("containerStatuses") or [{}]
    return statuses[0].get("state", {}).get("waiting", {}).get("reason")


def test_a_rollout_of_three_replicas_is_a_matter_of_a_moment(
    control_plane: ControlPlane, namespace: str
) -> None:
    """A deployment rolls by the real controllers; measured and printed, asserted with room for a busy machine."""
    begun = time.monotonic()
    control_plane.kubectl(
        "create", "deployment", "app", "--image=r/app:1.0", "--replicas=3", "-n", namespace
    )
    control_plane.kubectl("rollout", "status", "deployment/app", "-n", namespace)
    took = time.monotonic() - begun
    print(f"\nstart {control_plane.started_in_s:.1f} s, rollout of 3 replicas {took:.2f} s")
    assert all(ready(pod) for pod in pods(control_plane, namespace))
    assert took < 10


def test_it_says_its_real_version(control_plane: ControlPlane) -> None:
    """kubectl and the server agree on the version they were built from, so kubectl does not warn of a skew."""
    said = json.loads(control_plane.kubectl("version", "-o", "json"))
    assert said["serverVersion"]["gitVersion"] == said["clientVersion"]["gitVersion"] == "v1.37.2"


def test_deleting_a_deployment_takes_its_pods_along(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Garbage collection is real: owners' deletion cascades through ReplicaSets to pods."""
    control_plane.kubectl(
        "create", "deployment", "app", "--image=r/app:1.0", "--replicas=2", "-n", namespace
    )
    eventually("two pods", lambda: len(pods(control_plane, namespace)) == 2)
    control_plane.kubectl("delete", "deployment", "app", "-n", namespace)
    eventually("no pods", lambda: not pods(control_plane, namespace))


def test_a_broken_image_crash_loops_and_says_so(
    control_plane: ControlPlane, namespace: str
) -> None:
    """A tag that ends in `broken`: CrashLoopBackOff, a last state, growing restarts and a BackOff event on the pod."""
    control_plane.kubectl(
        "create", "deployment", "app", "--image=r/app:1.3-broken", "-n", namespace
    )
    pod = eventually(
        "a crash loop",
        lambda: next(
            (p for p in pods(control_plane, namespace) if waiting(p) == "CrashLoopBackOff"), None
        ),
    )
    status = pod["status"]["containerStatuses"][0]
    assert not ready(pod)
    assert status["restartCount"] >= 1
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert status["lastState"]["terminated"]["reason"] == "Error"
    events = eventually(
        "the event",
        lambda: json.loads(
            control_plane.kubectl(
                "get", "events", "-n", namespace, "-o", "json",
                "--field-selector", f"involvedObject.uid={pod['metadata']['uid']},reason=BackOff",
            )
        )["items"],
    )  # fmt: skip
    assert events[0]["type"] == "Warning"
    assert events[0]["message"].startswith("Back-off restarting failed container")
    eventually(
        "a second restart",
        lambda: any(
            p["status"]["containerStatuses"][0]["restartCount"] >= 2
            for p in pods(control_plane, namespace)
        ),
    )


def test_only_the_broken_container_of_a_pod_crashes(
    control_plane: ControlPlane, namespace: str
) -> None:
    """The tag decides per container, also with a digest behind it; a registry named broken does not."""
    digest = "sha256:" + "0" * 64
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "two", "namespace": namespace},
        "spec": {
            "containers": [
                {"name": "good", "image": "broken.example/app:1.0"},
                {"name": "bad", "image": f"r/app:2-broken@{digest}"},
            ]
        },
    }
    control_plane.kubectl("create", "-f", "-", input=json.dumps(manifest))

    def statuses() -> dict[str, Any]:
        status = pods(control_plane, namespace)[0]["status"].get("containerStatuses") or ()
        return {s["name"]: s["state"] for s in status}

    found = eventually("container statuses", statuses)
    assert "running" in found["good"]
    assert found["bad"]["waiting"]["reason"] == "CrashLoopBackOff"


def test_a_slow_image_is_being_created_before_it_is_ready(
    control_plane: ControlPlane, namespace: str
) -> None:
    """A tag that ends in `slow` shows the time between scheduled and Ready."""
    begun = time.monotonic()
    control_plane.kubectl("run", "app", "--image=r/app:1-slow", "-n", namespace)
    eventually(
        "creating", lambda: waiting(pods(control_plane, namespace)[0]) == "ContainerCreating"
    )
    eventually("ready", lambda: ready(pods(control_plane, namespace)[0]))
    assert time.monotonic() - begun > 4


def test_jobs_complete_and_broken_ones_fail(control_plane: ControlPlane, namespace: str) -> None:
    """A Job's pods end: with success, or with failure until the Job gives up."""
    for name, image in (("good", "r/app:1.0"), ("bad", "r/app:broken")):
        control_plane.kubectl("create", "job", name, f"--image={image}", "-n", namespace)
    control_plane.kubectl(
        "patch", "job", "bad", "-n", namespace, "-p", '{"spec":{"backoffLimit":0}}'
    )
    control_plane.kubectl(
        "wait", "--for=condition=Complete", "job/good", "-n", namespace, "--timeout=30s"
    )
    control_plane.kubectl(
        "wait", "--for=condition=Failed", "job/bad", "-n", namespace, "--timeout=30s"
    )


def test_a_service_account_may_do_what_its_role_says_and_no_more(
    control_plane: ControlPlane, namespace: str
) -> None:
    """RBAC is on and tokens are real: 403 without a role, an answer with one, nothing in other namespaces."""
    control_plane.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    config = control_plane.service_account_kubeconfig(namespace, "reader")
    with pytest.raises(KubectlError, match="Forbidden"):
        control_plane.kubectl_as(config, "get", "pods", "-n", namespace)
    control_plane.kubectl(
        "create", "rolebinding", "reader", "--clusterrole=view",
        f"--serviceaccount={namespace}:reader", "-n", namespace,
    )  # fmt: skip
    eventually(
        "the role to hold",
        lambda: (
            control_plane.kubectl("auth", "can-i", "list", "pods", "-n", namespace,
                f"--as=system:serviceaccount:{namespace}:reader").strip() == "yes"
        ),
    )  # fmt: skip
    assert control_plane.kubectl_as(config, "get", "pods", "-n", namespace) == ""
    with pytest.raises(KubectlError, match="Forbidden"):
        control_plane.kubectl_as(config, "get", "secrets", "-n", namespace)
    with pytest.raises(KubectlError, match="Forbidden"):
        control_plane.kubectl_as(config, "get", "pods", "-n", "kube-system")
    assert config.stat().st_mode & 0o077 == 0


def test_requests_of_one_account_can_be_counted_exactly(
    control_plane: ControlPlane, namespace: str
) -> None:
    """The audit log has each request of a user once, with its code."""
    control_plane.kubectl("create", "serviceaccount", "counted", "-n", namespace)
    config = control_plane.service_account_kubeconfig(namespace, "counted")
    user = f"system:serviceaccount:{namespace}:counted"
    for _ in range(3):
        with pytest.raises(KubectlError):
            control_plane.kubectl_as(
                config, "get", "--raw", f"/api/v1/namespaces/{namespace}/configmaps"
            )

    def asked() -> list[tuple[str, str, int]]:
        found = [e for e in control_plane.audit_events(user) if e.resource == "configmaps"]
        return [(e.verb, e.namespace, e.code) for e in found]

    # The server writes a line after it has answered.
    eventually("three lines", lambda: len(asked()) >= 3)
    assert asked() == [("list", namespace, 403)] * 3


def test_answered_requests_are_counted_by_verb_and_resource(control_plane: ControlPlane) -> None:
    """`request_counts` reads the API server's own metrics."""
    before = control_plane.request_counts()
    for _ in range(3):
        control_plane.request("GET", "/apis/scheduling.k8s.io/v1/priorityclasses")

    def grown() -> int:
        return (control_plane.request_counts() - before)["LIST", "priorityclasses"]

    # The server counts after it has answered; its own controllers list too, now and then.
    eventually("the count", lambda: grown() >= 3)


def test_an_open_watch_is_one_event(control_plane: ControlPlane, namespace: str) -> None:
    """A watch is counted from its start and not again at its end."""
    control_plane.kubectl(
        "get", "--raw",
        f"/api/v1/namespaces/{namespace}/configmaps?watch=1&timeoutSeconds=1",
    )  # fmt: skip

    def watches() -> list[int]:
        return [
            e.code
            for e in control_plane.audit_events("sandbox:admin")
            if e.verb == "watch" and e.namespace == namespace
        ]

    # The server writes the line of its end after it has answered; 0 is a watch that is still open.
    eventually("the watch's end", lambda: watches() not in ([], [0]))
    assert len(watches()) == 1


def test_a_watch_tells_events_and_ends_when_closed_from_elsewhere(
    control_plane: ControlPlane, namespace: str
) -> None:
    """A reader that waits for the next event is woken by close."""
    events = control_plane.watch(f"/api/v1/namespaces/{namespace}/configmaps?watch=1")
    seen: list[str] = []

    def read() -> None:
        seen.extend(event["object"]["metadata"]["name"] for event in events)

    reader = threading.Thread(target=read)
    reader.start()
    control_plane.kubectl("create", "configmap", "noted", "-n", namespace)
    eventually("the event", lambda: "noted" in seen)
    events.close()
    reader.join(5)
    assert not reader.is_alive()


def test_everything_listens_on_loopback_only(control_plane: ControlPlane) -> None:
    """No port of the control plane is open to the network."""
    ours = {child.pid for child in control_plane.children}
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9]: row[1] for row in listening if row[3] == "0A"}
    inodes6 = {
        row[9]
        for row in (x.split() for x in Path("/proc/net/tcp6").read_text().splitlines()[1:])
        if row[3] == "0A"
    }
    seen = 0
    for pid in ours:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            inode = str(fd.readlink()).removeprefix("socket:[").removesuffix("]")
            assert inode not in inodes6
            if inode in inodes:
                seen += 1
                assert inodes[inode].startswith("0100007F:")
    assert seen >= 3
