"""Watches against a server that ends, refuses and forgets; the real one is in tests/integration/test_agent_cluster.py."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
import pytest

from agent.cluster.metrics import ClusterMetrics
from agent.cluster.port import Kind, Selection
from agent.cluster.watch import Broken, Gone, KindWatch, Listed, Seen, WatchEvent
from agent.errors import AgentError, ClusterUnavailableError
from agent.reconcile.watches import WatchSet

KIND = Kind(api_version="v1", kind="ConfigMap", plural="configmaps", namespaced=True)
SELECTION = Selection(kind=KIND, labels="lockgate.dev/instance")
Script = Sequence[dict[str, Any] | AgentError]


def event(kind: str, name: str, version: int = 1) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "n",
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
    }
    return {"type": kind, "object": {"metadata": metadata}}


END = {
    "type": "BOOKMARK",
    "object": {"metadata": {"annotations": {"k8s.io/initial-events-end": "true"}}},
}
EXPIRED = {"type": "ERROR", "object": {"code": 410, "message": "Expired"}}


class Stream:
    """Plays a script, then ends or stays open until it is closed."""

    def __init__(self, script: Script, *, stays: bool) -> None:
        self._script = script
        self._stays = stays
        self._closed = threading.Event()

    def lines(self) -> Iterator[bytes]:
        for step in self._script:
            if isinstance(step, AgentError):
                raise step
            yield orjson.dumps(step)
        if self._stays:
            self._closed.wait(10)

    def close(self) -> None:
        self._closed.set()


class ScriptedCluster:
    """Opens one scripted stream after the other; the last one stays open."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)

    def watch(self, selection: Selection, *, timeout_s: float) -> Stream:
        script = self._scripts.pop(0)
        if script and isinstance(script[0], AgentError):
            raise script[0]
        return Stream(script, stays=not self._scripts)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a watch does not call {name}")


class Heard:
    def __init__(self) -> None:
        self.events: list[WatchEvent] = []
        self._changed = threading.Condition()

    def __call__(self, event: WatchEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, 10), self.events

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def play(*scripts: Script, until: Callable[[Heard], bool]) -> Heard:
    heard = Heard()
    watch = KindWatch(ScriptedCluster(*scripts), SELECTION, heard, metrics=ClusterMetrics())  # type: ignore[arg-type]
    watch.start()
    heard.until(lambda: until(heard))
    watch.stop()
    watch.join(5)
    return heard


def test_a_listing_ends_with_its_bookmark_and_news_follows():
    """Engine 11: `first` tells the listing from news."""
    heard = play(
        [event("ADDED", "a"), END, event("MODIFIED", "a", 2), {"type": "BOOKMARK", "object": {"metadata": {}}}],
        until=lambda h: len(h.of(Seen)) == 2,
    )  # fmt: skip
    assert [seen.first for seen in heard.of(Seen)] == [True, False]
    assert len(heard.of(Listed)) == 1


def test_an_expired_watch_is_listed_again_and_misses_nothing():
    """K3: 410 comes as an event of a 200 answer; what is not listed again was deleted meanwhile."""
    heard = play(
        [event("ADDED", "a"), event("ADDED", "b"), END, EXPIRED],
        [event("ADDED", "b"), END],
        until=lambda h: len(h.of(Listed)) == 2,
    )
    assert [(gone.name, gone.uid) for gone in heard.of(Gone)] == [("a", "uid-a")]
    assert not heard.of(Broken)


def test_a_broken_stream_is_reported_and_opened_again():
    """K3: silence and resets end in a new listing."""
    error = ClusterUnavailableError("a watch broke off (ReadTimeoutError)")
    heard = play(
        [event("ADDED", "a"), END, error],
        [END],
        until=lambda h: len(h.of(Listed)) == 2,
    )
    assert [broken.error for broken in heard.of(Broken)] == [error]
    assert [gone.name for gone in heard.of(Gone)] == ["a"]


def test_an_interrupted_listing_deletes_nothing():
    """What was not told yet is not missing."""
    error = ClusterUnavailableError("a watch broke off")
    heard = play(
        [event("ADDED", "a"), event("ADDED", "b"), END, EXPIRED],
        [event("ADDED", "b"), error],
        [event("ADDED", "a"), event("ADDED", "b"), END],
        until=lambda h: len(h.of(Listed)) == 2,
    )
    assert not heard.of(Gone)


@pytest.mark.parametrize(
    "line", [{"type": "ERROR", "object": {"code": 504, "message": "too new"}}, []]
)
def test_what_a_watch_cannot_use_is_an_error_and_not_the_end(line):
    """A resourceVersion from the future (restored etcd), or something that is no event at all."""
    heard = play([END, line], [END], until=lambda h: len(h.of(Listed)) == 2)
    assert len(heard.of(Broken)) == 1


def watch_set(tell: Callable[[WatchEvent], None], *scripts: Script) -> tuple[WatchSet, list[str]]:
    crashes: list[str] = []
    cluster = ScriptedCluster(*scripts)
    watches = WatchSet(cluster, tell, ClusterMetrics(), lambda: crashes.append("watch"))  # type: ignore[arg-type]
    watches.ensure(SELECTION)
    return watches, crashes


def test_nobody_plans_before_a_listing_has_ended():
    """I2: a kind that cannot be listed is an error, with the server's words."""
    refused = AgentError("cannot watch configmaps: forbidden")
    watches, _ = watch_set(lambda _: None, [refused], [refused], [])
    with pytest.raises(AgentError, match="forbidden"):
        watches.wait_listed([SELECTION], 5)
    watches.close()


def test_a_listing_that_does_not_come_is_an_error_after_a_while():
    """The wait has an end."""
    watches, _ = watch_set(lambda _: None, [event("ADDED", "a")])
    with pytest.raises(AgentError, match="could not be listed"):
        watches.wait_listed([SELECTION], 0.05)
    watches.close()


def test_one_broken_connection_is_no_news_and_two_are():
    """A load balancer that ends idle streams must not turn every Application Unknown."""
    heard = Heard()
    broken = ClusterUnavailableError("a watch broke off")
    watches, _ = watch_set(heard, [END, broken], [END, broken], [broken], [])
    heard.until(lambda: len(heard.of(Broken)) == 1)
    watches.wait_listed([SELECTION], 1)
    heard.until(lambda: len(heard.of(Broken)) == 3)
    with pytest.raises(ClusterUnavailableError):
        watches.wait_listed([SELECTION], 1)
    assert not watches.is_listed(SELECTION)
    watches.close()


def test_an_event_that_nobody_foresaw_does_not_end_the_watch():
    """K18: one odd object, all others go on."""
    heard = Heard()

    def tell(told: WatchEvent) -> None:
        if isinstance(told, Seen) and told.object["metadata"]["name"] == "odd":
            raise KeyError("odd")
        heard(told)

    watches, crashes = watch_set(tell, [event("ADDED", "odd"), event("ADDED", "a"), END])
    heard.until(lambda: len(heard.of(Listed)) == 1)
    assert [seen.object["metadata"]["name"] for seen in heard.of(Seen)] == ["a"]
    assert crashes == ["watch"]
    watches.close()
