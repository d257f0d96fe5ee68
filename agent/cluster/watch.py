"""Keeping up with one kind: a daemon thread holds a watch-list open and tells what it sees.

Every (re)opening is a full list in stream form, so a watch cannot be left behind by an expired resourceVersion: what
was known and is not listed again was deleted meanwhile. A stream that ends, answers 410, or stays silent is opened anew.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from agent.cluster.metrics import ClusterMetrics
from agent.cluster.port import Cluster, EventStream, Json, Selection
from agent.errors import AgentError, ClusterUnavailableError

_TIMEOUT_S = 1800.0
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
_END_OF_LIST = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An object is there, as given. `first`: part of a listing, not news."""

    selection: Selection
    object: Json
    first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """An object is not selected any more: deleted, or its label was taken off."""

    selection: Selection
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Everything that exists has been told."""

    selection: Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The kind cannot be watched now; another attempt follows."""

    selection: Selection
    error: AgentError


WatchEvent = Seen | Gone | Listed | Broken


class KindWatch:
    """One watched kind. `start` once; `stop` returns at once and the thread ends soon after."""

    def __init__(
        self,
        cluster: Cluster,
        selection: Selection,
        tell: Callable[[WatchEvent], None],
        *,
        metrics: ClusterMetrics | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self.selection = selection
        self._cluster = cluster
        self._tell = tell
        self._metrics = metrics or ClusterMetrics()
        self._timeout_s = timeout_s
        self._known: dict[tuple[str, str], str] = {}
        self._stopped = threading.Event()
        self._stream: EventStream | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"watch-{selection.kind.plural}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._stream is not None:
            self._stream.close()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stopped.is_set():
            try:
                self._follow()
            except AgentError as error:
                if self._stopped.is_set():
                    return
                self._metrics.count_reopen(
                    "silent" if isinstance(error, ClusterUnavailableError) else "failed"
                )
                self._tell(Broken(selection=self.selection, error=error))
                self._stopped.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
                pause = min(pause * 2, _LONGEST_PAUSE_S)
            else:
                # A stream that the server ends at once must not become a busy loop.
                self._stopped.wait(_FIRST_PAUSE_S)
                pause = _FIRST_PAUSE_S

    def _follow(self) -> None:
        self._stream = self._cluster.watch(self.selection, timeout_s=self._timeout_s)
        if self._stopped.is_set():
            self._stream.close()
        listing: set[tuple[str, str]] | None = set()
        for line in self._stream.lines():
            if self._stopped.is_set():
                return
            event = _parse(line)
            kind = event.get("type")
            thing = event.get("object") or {}
            if kind == "ERROR":
                self._end_of_error(thing)
                return
            if kind != "BOOKMARK":
                self._tell_one(str(kind), thing, listing)
            elif listing is not None and _ends_listing(thing):
                self._tell_missing(listing)
                listing = None
                self._tell(Listed(selection=self.selection))
        self._metrics.count_reopen("ended")

    def _tell_one(self, kind: str, thing: Json, listing: set[tuple[str, str]] | None) -> None:
        meta = thing["metadata"]
        namespace, name, uid = meta.get("namespace", ""), meta["name"], meta["uid"]
        if kind == "DELETED":
            self._known.pop((namespace, name), None)
            self._tell(Gone(selection=self.selection, namespace=namespace, name=name, uid=uid))
            return
        self._known[namespace, name] = uid
        if listing is not None:
            listing.add((namespace, name))
        self._tell(Seen(selection=self.selection, object=thing, first=listing is not None))

    def _tell_missing(self, listing: set[tuple[str, str]]) -> None:
        for namespace, name in [key for key in self._known if key not in listing]:
            uid = self._known.pop((namespace, name))
            self._tell(Gone(selection=self.selection, namespace=namespace, name=name, uid=uid))

    def _end_of_error(self, status: Json) -> None:
        """Let an expired watch (410) be opened again as a matter of course; report other errors."""
        if status.get("code") == 410:
            self._metrics.count_reopen("expired")
            return
        raise ClusterUnavailableError(
            f"the watch of {self.selection.kind.plural} failed: {status.get('message', '')[:256]}"
        )


def _parse(line: bytes) -> Json:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ClusterUnavailableError("a watch sent something that is not JSON") from error
    if not isinstance(event, dict):
        raise ClusterUnavailableError("a watch sent something that is not an event")
    return event


def _ends_listing(bookmark: Json) -> bool:
    annotations = bookmark["metadata"].get("annotations") or {}
    return annotations.get(_END_OF_LIST) == "true"
