"""The API server as the agent speaks to it: raw JSON, apply, delete with precondition, watch-list."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.cluster.kube import KubeCluster, KubeOptions
from agent.cluster.port import Kind, Place, Selection
from agent.cluster.watch import Broken, Gone, KindWatch, Listed, Seen, WatchEvent
from agent.errors import ClusterError, ClusterUnavailableError, ConfigError

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster(control_plane) -> KubeCluster:
    return KubeCluster(KubeOptions(kubeconfig=str(control_plane.kubeconfig)))


@pytest.fixture(scope="module")
def configmaps(cluster) -> Kind:
    kind = cluster.find_kind("v1", "ConfigMap")
    assert kind is not None
    return kind


def body(place: Place, data: dict[str, str], uid: str = "") -> dict:
    metadata = {"name": place.name, "namespace": place.namespace, "labels": {"test": "watch"}}
    if uid:
        metadata["uid"] = uid
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class Heard:
    """What a watch told, and waiting for it."""

    def __init__(self) -> None:
        self.events: list[WatchEvent] = []
        self._changed = threading.Condition()

    def __call__(self, event: WatchEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def until(self, condition: Callable[[list[WatchEvent]], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.events), 10), self.events

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.events)


@pytest.fixture
def heard(cluster, configmaps, namespace) -> Iterator[Heard]:
    heard = Heard()
    selection = Selection(kind=configmaps, namespace=namespace, labels="test")
    watch = KindWatch(cluster, selection, heard, timeout_s=2)
    watch.start()
    heard.until(lambda events: any(isinstance(e, Listed) for e in events))
    yield heard
    watch.stop()
    watch.join(5)


def test_kinds_are_discovered_and_unknown_ones_are_none(cluster):
    """A kind the server does not serve is an answer, not an error."""
    deployment = cluster.find_kind("apps/v1", "Deployment")
    assert deployment is not None
    assert deployment.path("a", "b") == "/apis/apps/v1/namespaces/a/deployments/b"
    assert cluster.find_kind("v1", "Namespace").path("", "x") == "/api/v1/namespaces/x"
    assert cluster.find_kind("apps/v1", "Nonsense") is None
    assert cluster.find_kind("example.test/v1", "Nonsense") is None


def test_an_identical_apply_changes_nothing(cluster, configmaps, namespace):
    """Engine 4: same resourceVersion."""
    place = Place(kind=configmaps, namespace=namespace, name="one")
    first = cluster.apply(place, body(place, {"a": "1"}))
    again = cluster.apply(place, body(place, {"a": "1"}, first["metadata"]["uid"]))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert first["metadata"]["managedFields"][0]["manager"] == "lockgate"


def test_an_apply_with_a_uid_never_creates(cluster, configmaps, namespace):
    """Engine 6: repairs are aimed at the object that was seen."""
    place = Place(kind=configmaps, namespace=namespace, name="absent")
    with pytest.raises(ClusterError) as caught:
        cluster.apply(place, body(place, {}, "6f7d3d4c-0000-4000-8000-000000000000"))
    assert caught.value.status == 409
    assert cluster.find(place) is None


def test_a_delete_of_another_uid_deletes_nothing(cluster, configmaps, namespace):
    """A recreated object is not the one that was meant."""
    place = Place(kind=configmaps, namespace=namespace, name="kept")
    uid = cluster.apply(place, body(place, {}))["metadata"]["uid"]
    assert not cluster.delete(place, uid="6f7d3d4c-0000-4000-8000-000000000000")
    assert cluster.find(place) is not None
    assert cluster.delete(place, uid=uid)
    assert not cluster.delete(place, uid=uid)
    with pytest.raises(ClusterError):
        cluster.delete(place, uid="")


def test_errors_carry_status_reason_and_fields(cluster, configmaps, namespace):
    """The remedy for a 422 needs the field the server names."""
    place = Place(kind=configmaps, namespace=namespace, name="Wrong_Name")
    with pytest.raises(ClusterError) as caught:
        cluster.apply(place, body(place, {}))
    assert (caught.value.status, caught.value.code) == (422, "Invalid")
    assert caught.value.fields == ("metadata.name",)
    assert place.path in caught.value.message


def test_what_is_said_of_a_secret_is_not_repeated(cluster, namespace):
    """S1: the server quotes values in its errors."""
    secrets = cluster.find_kind("v1", "Secret")
    place = Place(kind=secrets, namespace=namespace, name="s")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": namespace},
        "data": "canary-e4b1",
    }
    with pytest.raises(ClusterError) as caught:
        cluster.apply(place, secret)
    assert "canary" not in caught.value.message


def test_lists_are_paged_and_items_know_their_kind(cluster, configmaps, namespace):
    """Items of built-in kinds come without apiVersion and kind."""
    for index in range(3):
        place = Place(kind=configmaps, namespace=namespace, name=f"item-{index}")
        cluster.create(place, body(place, {}))
    found = cluster.list(Selection(kind=configmaps, namespace=namespace, labels="test=watch"))
    assert {item["metadata"]["name"] for item in found} == {"item-0", "item-1", "item-2"}
    assert {(item["apiVersion"], item["kind"]) for item in found} == {("v1", "ConfigMap")}


def test_a_watch_tells_what_is_added_changed_and_deleted(cluster, configmaps, namespace, heard):
    """Events carry whole objects; a deletion carries the uid."""
    place = Place(kind=configmaps, namespace=namespace, name="seen")
    uid = cluster.apply(place, body(place, {"a": "1"}))["metadata"]["uid"]
    heard.until(lambda _: heard.count(Seen) >= 1)
    cluster.delete(place, uid=uid)
    heard.until(lambda _: heard.count(Gone) == 1)
    gone = next(event for event in heard.events if isinstance(event, Gone))
    assert (gone.name, gone.uid) == ("seen", uid)


def test_taking_the_label_off_is_told_as_gone(cluster, configmaps, namespace, heard):
    """Engine 11: the reader asks by name before it believes in a deletion."""
    place = Place(kind=configmaps, namespace=namespace, name="unlabelled")
    cluster.apply(place, body(place, {}))
    cluster.merge(place, {"metadata": {"labels": {"test": None}}})
    heard.until(lambda _: heard.count(Gone) == 1)
    assert cluster.find(place) is not None


def test_a_deletion_while_the_watch_was_closed_is_noticed(cluster, configmaps, namespace, heard):
    """K3: what is not listed again was deleted meanwhile. The watch of this test ends every two seconds."""
    place = Place(kind=configmaps, namespace=namespace, name="lost")
    uid = cluster.apply(place, body(place, {}))["metadata"]["uid"]
    heard.until(lambda _: heard.count(Seen) >= 1)
    heard.until(lambda _: heard.count(Listed) >= 2)
    cluster.delete(place, uid=uid)
    heard.until(lambda _: heard.count(Gone) == 1)
    assert heard.count(Broken) == 0


def test_a_server_that_is_not_there_is_unavailable_and_not_a_traceback(tmp_path: Path):
    """A later try may work."""
    config = tmp_path / "config"
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: "
        "{server: 'http://127.0.0.1:9'}}], contexts: [{name: c, context: {cluster: c, user: u}}],"
        " users: [{name: u, user: {}}]}"
    )
    with pytest.raises(ClusterUnavailableError, match="cannot be reached"):
        KubeCluster(KubeOptions(kubeconfig=str(config))).find_kind("v1", "Pod")


def test_a_missing_kubeconfig_says_what_to_do(tmp_path: Path):
    """No cluster, no start."""
    with pytest.raises(ConfigError) as caught:
        KubeCluster(KubeOptions(kubeconfig=str(tmp_path / "absent"))).find_kind("v1", "Pod")
    assert "--kubeconfig" in caught.value.hint
