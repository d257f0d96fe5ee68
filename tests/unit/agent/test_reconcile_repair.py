"""Taking an object over: what the one JSON patch says (engine.md 6 and 8)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agent.cluster.port import Kind, Place
from agent.core.objects import DesiredObject, ObjectKey
from agent.errors import ClusterError
from agent.reconcile.repair import apply_object

KIND = Kind(api_version="apps/v1", kind="Deployment", plural="deployments", namespaced=True)
PLACE = Place(kind=KIND, namespace="n", name="d")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def desired(spec: dict[str, Any] | None = None) -> DesiredObject:
    key = ObjectKey(group="apps", kind="Deployment", namespace="n", name="d")
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n"},
        "spec": spec or {"replicas": 2},
    }
    return DesiredObject(key=key, api_version="apps/v1", manifest=manifest, origin="d", hash="h")


def entry(manager: str, fields: dict[str, Any], operation: str = "Update", sub: str = "") -> dict:
    found = {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        "fieldsV1": fields,
    }
    return {**found, "subresource": sub} if sub else found


OWN = entry("lockgate", {"f:spec": {"f:replicas": {}}}, "Apply")


class Recorder:
    """A cluster of one object: what was asked of it, and errors to give first."""

    def __init__(self, *entries: dict, applies: Sequence[ClusterError] = (), patches=()) -> None:
        self.live = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "d",
                "namespace": "n",
                "uid": "u",
                "resourceVersion": "7",
                "annotations": {LAST_APPLIED: "{}"},
                "managedFields": list(entries),
            },
        }
        self.calls: list[str] = []
        self.patched: list[list[Mapping[str, Any]]] = []
        self.bodies: list[dict] = []
        self._applies = list(applies)
        self._patches = list(patches)

    def apply(self, place: Place, body: dict, *, dry_run: bool = False) -> dict:
        self.calls.append("apply")
        self.bodies.append(body)
        if self._applies:
            raise self._applies.pop(0)
        return self.live

    def find(self, place: Place) -> dict:
        self.calls.append("find")
        return self.live

    def patch(self, place: Place, operations: list) -> dict:
        self.calls.append("patch")
        self.patched.append(operations)
        if self._patches:
            raise self._patches.pop(0)
        return self.live

    def entries(self) -> dict[str, dict[str, Any]]:
        (change,) = [o for o in self.patched[-1] if o["path"] == "/metadata/managedFields"]
        return {item["manager"]: item["fieldsV1"] for item in change["value"]}


INVALID = ClusterError("no", status=422, code="Invalid", fields=("spec.strategy.rollingUpdate",))


def test_a_new_object_is_one_apply_without_a_uid():
    """Nothing to take over, nothing to read."""
    cluster = Recorder(OWN)
    applied = apply_object(cluster, PLACE, desired(), "")
    assert cluster.calls == ["apply"]
    assert "uid" not in cluster.bodies[0]["metadata"]
    assert applied.writes == 1


def test_an_update_is_aimed_at_the_object_that_was_seen():
    """The uid in the body: a recreated object is not touched."""
    cluster = Recorder(OWN, entry("kubectl-client-side-apply", {"f:spec": {"f:x": {}}}))
    apply_object(cluster, PLACE, desired(), "u")
    assert cluster.calls == ["apply"]
    assert cluster.bodies[0]["metadata"]["uid"] == "u"


def test_a_predecessors_fields_become_ours_in_one_patch():
    """D45: their entry is folded into ours, the last-applied annotation goes, a status entry stays."""
    theirs = {
        "f:spec": {"f:paused": {}, "f:replicas": {}},
        "f:metadata": {"f:annotations": {".": {}, f"f:{LAST_APPLIED}": {}}},
    }
    cluster = Recorder(
        OWN,
        entry("kubectl-client-side-apply", theirs),
        entry("argocd-controller", {"f:spec": {"f:x": {}}}, "Apply"),
        entry("kube-controller-manager", {"f:status": {}}, sub="status"),
    )
    applied = apply_object(cluster, PLACE, desired(), "")
    assert cluster.calls == ["apply", "patch", "apply"]
    assert cluster.entries() == {
        "lockgate": {
            "f:spec": {"f:paused": {}, "f:replicas": {}, "f:x": {}},
            "f:metadata": {"f:annotations": {".": {}}},
        },
        "kube-controller-manager": {"f:status": {}},
    }
    assert cluster.patched[0][0] == {
        "op": "replace",
        "path": "/metadata/resourceVersion",
        "value": "7",
    }
    assert cluster.patched[0][-1]["op"] == "remove"
    assert "argocd-controller, kubectl-client-side-apply" in applied.notes[0]


def test_a_rollout_restarts_stamp_is_left_out():
    """Engine 5e: taking it over would restart everything."""
    stamp = {"f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}, "f:other": {}}}
    theirs = {"f:spec": {"f:template": {"f:metadata": stamp}}}
    cluster = Recorder(OWN, entry("kubectl-create", theirs))
    apply_object(cluster, PLACE, desired(), "")
    found = cluster.entries()
    restarted = {"f:annotations": {"f:kubectl.kubernetes.io/restartedAt": {}}}
    assert found["kubectl-create"] == {"f:spec": {"f:template": {"f:metadata": restarted}}}
    assert found["lockgate"]["f:spec"]["f:template"]["f:metadata"] == {
        "f:annotations": {"f:other": {}}
    }


def test_a_node_that_is_a_leaf_here_and_a_parent_there_keeps_itself():
    """Engine 6: `{}` united with children gets a `.`."""
    cluster = Recorder(
        entry("lockgate", {"f:spec": {"f:a": {}}}, "Apply"),
        entry("kubectl-create", {"f:spec": {"f:a": {"f:b": {}}}}),
    )
    apply_object(cluster, PLACE, desired(), "")
    assert cluster.entries()["lockgate"]["f:spec"]["f:a"] == {".": {}, "f:b": {}}


def test_a_refused_update_takes_over_what_people_left_and_what_the_server_names():
    """Engine 6: the field of the cause that git does not state becomes a leaf of ours."""
    cluster = Recorder(OWN, entry("kubectl-patch", {"f:spec": {"f:y": {}}}), applies=[INVALID])
    applied = apply_object(cluster, PLACE, desired({"strategy": {"type": "Recreate"}}), "u")
    assert cluster.calls == ["apply", "find", "patch", "apply"]
    assert cluster.entries()["lockgate"]["f:spec"] == {
        "f:replicas": {},
        "f:y": {},
        "f:strategy": {"f:rollingUpdate": {}},
    }
    assert applied.writes == 2


@pytest.mark.parametrize(
    ("error", "uid"),
    [
        (ClusterError("no", status=422, fields=("spec.replicas",)), "u"),  # git states it
        (ClusterError("no", status=422, fields=("spec.ports[0].port",)), "u"),  # no plain path
        (INVALID, "another"),  # somebody recreated it
        (INVALID, ""),  # a creation has nothing in its way
        (ClusterError("no", status=500), "u"),
    ],
)
def test_a_refusal_without_a_remedy_stands(error, uid):
    """Nothing is patched on a guess."""
    cluster = Recorder(OWN, applies=[error])
    with pytest.raises(ClusterError) as caught:
        apply_object(cluster, PLACE, desired(), uid)
    assert caught.value is error
    assert "patch" not in cluster.calls


def test_a_second_refusal_stands():
    """One remedy, no loop."""
    cluster = Recorder(OWN, applies=[INVALID, INVALID])
    with pytest.raises(ClusterError):
        apply_object(cluster, PLACE, desired(), "u")
    assert cluster.calls == ["apply", "find", "patch", "apply"]


def test_a_takeover_that_races_with_a_status_write_is_made_again():
    """409: read and patch once more, at most three times."""
    conflict = ClusterError("stale", status=409, code="Conflict")
    cluster = Recorder(OWN, entry("kubectl-create", {"f:spec": {}}), patches=[conflict])
    apply_object(cluster, PLACE, desired(), "")
    assert cluster.calls == ["apply", "patch", "find", "patch", "apply"]
    cluster = Recorder(OWN, entry("kubectl-create", {"f:spec": {}}), patches=[conflict] * 3)
    with pytest.raises(ClusterError):
        apply_object(cluster, PLACE, desired(), "")
    assert cluster.calls.count("patch") == 3
