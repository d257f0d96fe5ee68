"""Why a workload is not healthy: its pods, followed only while it is not (D13), and their events when something fails.

A Deployment whose new pods crash says nothing for ten minutes. So while a workload is not Healthy its pods are watched by
the workload's own selector, and no longer; nothing is polled.
"""

import threading
from collections.abc import Callable, Iterable

import orjson

from agent.cluster.port import Cluster, Selection
from agent.cluster.watch import Gone, Seen, WatchEvent
from agent.core.health.problems import find_problems
from agent.core.objects import DesiredObject, Manifest
from agent.core.report import Problem
from agent.errors import AgentError
from agent.reconcile.watches import WatchSet

_MAX_WATCHES = 24  # of workloads in trouble at one time; the rest wait for their turn
_MAX_EVENT_PODS = 3
_PATIENCE_S = 1.0  # a healed scale is over by then and needs no request
_SELECTED = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})


class PodBook:
    """Pods of workloads in trouble, by Application. Filled from watch threads, read by workers."""

    def __init__(
        self,
        cluster: Cluster,
        watches: WatchSet,
        wake: Callable[[str], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._watches = watches
        self._wake = wake
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._since: dict[tuple[str, Selection], float] = {}
        self._pods: dict[Selection, dict[str, bytes]] = {}
        self._apps: dict[Selection, str] = {}
        self._told: dict[str, tuple[tuple[str, str], ...]] = {}
        self._messages: dict[str, tuple[Problem, ...]] = {}

    def follow(self, app: str, unhealthy: Iterable[DesiredObject]) -> float | None:
        """Follow the pods of these workloads, and no others, for an Application.

        Those that have been unhealthy for less than a moment wait; returns when to call again, if so.
        """
        all_wanted = {s for item in unhealthy if (s := self._selection(item)) is not None}
        now = self._monotonic()
        with self._lock:
            self._since = {
                key: since
                for key, since in self._since.items()
                if key[0] != app or key[1] in all_wanted
            }
            ages = {s: now - self._since.setdefault((app, s), now) for s in all_wanted}
            wanted = {selection for selection, age in ages.items() if age >= _PATIENCE_S}
            old = {selection for selection, owner in self._apps.items() if owner == app} - wanted
            room = _MAX_WATCHES - len(self._apps) + len(old)
            new = sorted(wanted - set(self._apps), key=str)[: max(0, room)]
            for selection in old:
                del self._apps[selection]
                self._pods.pop(selection, None)
            for selection in new:
                self._apps[selection] = app
                self._pods[selection] = {}
        for selection in old:
            self._watches.drop(selection)
        for selection in new:
            self._watches.ensure(selection)
        young = [_PATIENCE_S - age for age in ages.values() if age < _PATIENCE_S]
        return min(young) + 0.01 if young else None

    def hears(self, selection: Selection) -> bool:
        with self._lock:
            return selection in self._apps

    def hear(self, event: WatchEvent) -> None:
        """Take in an event of a pod; wakes the Application if what is wrong has changed."""
        with self._lock:
            pods = self._pods.get(event.selection)
            app = self._apps.get(event.selection, "")
            if pods is None:
                return
            match event:
                case Seen(object=pod):
                    pods[pod["metadata"]["name"]] = orjson.dumps(_compact(pod))
                case Gone(name=name):
                    pods.pop(name, None)
                case _:
                    return
            changed = _names(find_problems(self._of(app), (), str)) != self._told.get(app, ())
        if changed:
            self._wake(app)

    def problems(self, app: str, scrub: Callable[[str], str]) -> tuple[Problem, ...]:
        """Return what is wrong now; asks for events once for each new set of problems."""
        with self._lock:
            pods = self._of(app)
        bare = find_problems(pods, (), scrub)
        names = _names(bare)
        with self._lock:
            known = self._told.get(app, ()) == names
            self._told[app] = names
            if known and app in self._messages:
                return self._messages[app]
        found = find_problems(pods, self._events(pods, bare), scrub) if bare else ()
        with self._lock:
            self._messages[app] = found
        return found

    def _of(self, app: str) -> list[Manifest]:
        return [
            orjson.loads(pod)
            for selection, owner in self._apps.items()
            if owner == app
            for pod in self._pods.get(selection, {}).values()
        ]

    def _events(self, pods: list[Manifest], problems: tuple[Problem, ...]) -> list[Manifest]:
        kind = self._cluster.find_kind("v1", "Event")
        if kind is None:
            return []
        wanted = {problem.resource.removeprefix("Pod ") for problem in problems[:_MAX_EVENT_PODS]}
        found: list[Manifest] = []
        for pod in pods:
            metadata = pod["metadata"]
            if f"{metadata['namespace']}/{metadata['name']}" not in wanted:
                continue
            fields = f"involvedObject.kind=Pod,involvedObject.name={metadata['name']}"
            try:
                selection = Selection(kind=kind, namespace=metadata["namespace"], fields=fields)
                found.extend(self._cluster.list(selection))
            except AgentError:
                # The pod's own words remain; events are a courtesy that needs a right of its own.
                return found
        return found

    def _selection(self, item: DesiredObject) -> Selection | None:
        kind = self._cluster.find_kind("v1", "Pod")
        if kind is None:
            return None
        namespace, name = item.key.namespace, item.key.name
        match item.key.group, item.key.kind:
            case "apps", workload if workload in _SELECTED:
                selector = (item.manifest.get("spec") or {}).get("selector") or {}
                labels = selector.get("matchLabels") or {}
                if not labels or selector.get("matchExpressions"):
                    return None
                text = ",".join(f"{label}={value}" for label, value in sorted(labels.items()))
                return Selection(kind=kind, namespace=namespace, labels=text)
            case "batch", "Job":
                label = f"batch.kubernetes.io/job-name={name}"
                return Selection(kind=kind, namespace=namespace, labels=label)
            case "", "Pod":
                return Selection(kind=kind, namespace=namespace, fields=f"metadata.name={name}")
            case _:
                return None


def _names(problems: tuple[Problem, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((problem.resource, problem.reason) for problem in problems)


def _compact(pod: Manifest) -> Manifest:
    """Keep of a pod what problems are found in."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    kept = ("name", "namespace", "uid", "deletionTimestamp")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "status": {
            name: status[name]
            for name in ("phase", "initContainerStatuses", "containerStatuses")
            if name in status
        },
    }
