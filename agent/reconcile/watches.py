"""Which kinds are followed, and whether what is known of them is complete.

A kind is followed from the first moment an Application carries it or its inventory names it. Until its first listing
has ended nothing is planned for that Application: what has not been seen is not missing. While a kind cannot be watched
the Applications that carry it get its error, and nothing of theirs is applied or deleted.
"""

import threading
from collections.abc import Callable, Iterable

import structlog

from agent.cluster.metrics import ClusterMetrics
from agent.cluster.port import Cluster, Selection
from agent.cluster.watch import Broken, KindWatch, Listed, WatchEvent
from agent.errors import AgentError


class WatchSet:
    """Watches by selection. `tell` is called from the watches' threads."""

    def __init__(
        self,
        cluster: Cluster,
        tell: Callable[[WatchEvent], None],
        metrics: ClusterMetrics,
        crashed: Callable[[], None],
    ) -> None:
        self._crashed = crashed
        self._log = structlog.get_logger("agent.watches")
        self._cluster = cluster
        self._tell = tell
        self._metrics = metrics
        self._watches: dict[Selection, KindWatch] = {}
        self._listed: set[Selection] = set()
        self._errors: dict[Selection, AgentError] = {}
        self._shaky: set[Selection] = set()  # listed, but the stream broke and is not open again
        self._changed = threading.Condition()
        self._closed = False

    def ensure(self, selection: Selection) -> None:
        """Follow a kind from now on."""
        with self._changed:
            if selection in self._watches or self._closed:
                return
            watch = KindWatch(self._cluster, selection, self._observe, metrics=self._metrics)
            self._watches[selection] = watch
        watch.start()

    def drop(self, selection: Selection) -> None:
        """Follow it no longer."""
        with self._changed:
            watch = self._watches.pop(selection, None)
            self._listed.discard(selection)
            self._shaky.discard(selection)
            self._errors.pop(selection, None)
        if watch is not None:
            watch.stop()

    def wait_listed(self, selections: Iterable[Selection], timeout_s: float) -> None:
        """Return when all are listed; raises the error of one that is broken, or after the time-out."""
        wanted = list(selections)
        with self._changed:
            self._changed.wait_for(lambda: self._settled(wanted), timeout_s)
            for selection in wanted:
                if selection in self._errors:
                    raise self._errors[selection]
                if selection not in self._listed:
                    raise AgentError(
                        f"{selection.kind.plural} could not be listed within {timeout_s:g} s",
                        hint="the agent goes on trying",
                    )

    def is_listed(self, selection: Selection) -> bool:
        with self._changed:
            return selection in self._listed and selection not in self._errors

    def close(self) -> None:
        with self._changed:
            self._closed = True
            watches = list(self._watches.values())
            self._changed.notify_all()
        for watch in watches:
            watch.stop()
        for watch in watches:
            watch.join(1.0)

    def _settled(self, wanted: list[Selection]) -> bool:
        if self._closed or any(selection in self._errors for selection in wanted):
            return True
        return all(selection in self._listed for selection in wanted)

    def _observe(self, event: WatchEvent) -> None:
        try:
            self._tell(event)
        except Exception:  # noqa: BLE001 - a supervisor
            # One object that nobody foresaw must not end the watch of all others.
            self._crashed()
            self._log.exception("event crashed", kind=event.selection.kind.kind)
        match event:
            case Listed(selection=selection):
                with self._changed:
                    self._listed.add(selection)
                    self._shaky.discard(selection)
                    self._errors.pop(selection, None)
                    self._changed.notify_all()
            case Broken(selection=selection, error=error):
                with self._changed:
                    # One broken connection is no news: the next one is open in a moment and lists all again.
                    if selection not in self._listed or selection in self._shaky:
                        self._errors[selection] = error
                    self._shaky.add(selection)
                    self._changed.notify_all()
            case _:
                pass
