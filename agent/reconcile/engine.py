"""The whole of reconciling behind one handle: watches, queue, workers.

The composition root builds one with a cluster and a source, starts it, passes hints on, and stops it. Reports come out
through a callback, from worker threads.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from agent.cluster.metrics import ClusterMetrics
from agent.cluster.port import Cluster, Selection
from agent.core.application import Application
from agent.core.objects import AppIdentity
from agent.core.repositories import same_repository, show
from agent.errors import AgentError
from agent.reconcile import findings
from agent.reconcile.compare import Comparer
from agent.reconcile.deletion import Deleter
from agent.reconcile.loading import Loader
from agent.reconcile.metrics import EngineMetrics
from agent.reconcile.options import ReconcileOptions, ReportSink, utc_now
from agent.reconcile.pods import PodBook
from agent.reconcile.publish import Finding, Publisher
from agent.reconcile.queue import WorkQueue
from agent.reconcile.reconciler import Parts, Reconciler
from agent.reconcile.state import AppState, Registry
from agent.reconcile.steps import Seen, Steps
from agent.reconcile.store import InventoryStore
from agent.reconcile.sync import Syncer
from agent.reconcile.triggers import Triggers
from agent.reconcile.watches import WatchSet
from agent.reconcile.workers import Workers
from agent.render.plain import PlainRenderer
from agent.render.port import Renderer
from agent.source.port import Source

# The key of the digests. It keeps values from being read off, not from being guessed, which is why nothing of a Secret
# is written down; it is the same in every process, so that a restart recognises what the one before applied.
_KEY = b"lockgate owned fields, version 1"
_BEGIN_PAUSE_S = 2.0
_APPLICATION = ("argoproj.io/v1alpha1", "Application")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMeters:
    engine: EngineMetrics = field(default_factory=EngineMetrics)
    cluster: ClusterMetrics = field(default_factory=ClusterMetrics)


class Engine:
    """`report` is called from worker threads, at least once for each change of an Application's state."""

    def __init__(
        self,
        cluster: Cluster,
        source: Source,
        report: ReportSink,
        options: ReconcileOptions | None = None,
        *,
        renderer: Renderer | None = None,
        meters: EngineMeters | None = None,
    ) -> None:
        self._options = options or ReconcileOptions()
        meters = meters or EngineMeters()
        self._cluster = cluster
        self._log = structlog.get_logger("agent.engine")
        self._registry = Registry()
        self._queue = WorkQueue()
        self._store = InventoryStore(cluster, self._options.home_namespace)
        self._stopping = threading.Event()
        self._triggers = Triggers(self._registry, _KEY, self._wake)
        self._watches = WatchSet(
            cluster,
            self._triggers,
            meters.cluster,
            meters.engine.crashes.labels(where="watch").inc,
        )
        pods = PodBook(cluster, self._watches, self._wake, time.monotonic)
        self._triggers.pods = pods
        home = self._options.home_namespace
        self._publisher = Publisher(cluster, report, home, now=utc_now, monotonic=time.monotonic)
        syncer = Syncer(cluster, self._registry, self._store, _KEY, meters.engine)
        reconciler = Reconciler(
            Parts(
                cluster=cluster,
                source=source,
                registry=self._registry,
                loader=Loader(
                    source,
                    renderer or PlainRenderer(),
                    cluster,
                    home=home,
                    poll_s=self._options.poll_interval_s,
                    monotonic=time.monotonic,
                ),
                comparer=Comparer(cluster, self._registry, _KEY),
                steps=Steps(
                    syncer, self._registry, self._announce, now=utc_now, monotonic=time.monotonic
                ),
                deleter=Deleter(cluster, self._registry, self._store),
                publisher=self._publisher,
                watches=self._watches,
                pods=pods,
                report=report,
                options=self._options,
                now=utc_now,
                monotonic=time.monotonic,
                is_complete=self._is_complete,
            )
        )
        self._workers = Workers(
            self._queue, reconciler.reconcile, self._registry, meters.engine, self._options.workers
        )
        self._beginner = threading.Thread(target=self._begin, name="begin", daemon=True)

    def start(self) -> None:
        """Begin; returns at once. A cluster that is not there yet is waited for."""
        self._workers.start()
        self._beginner.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End: what is being applied is finished, nothing new is begun. Tells whether all ended in time."""
        self._stopping.set()
        self._queue.close()
        ended = self._workers.join(timeout_s)
        self._watches.close()
        self._beginner.join(1.0)
        return ended

    def refresh(self, repo: str, ref: str = "") -> int:
        """Fetch now what follows `ref` of a repository, however spelled; returns how many Applications that are."""
        branch = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        count = self._refresh(
            app
            for app in self._registry.list_apps()
            if same_repository(_source_field(app, "repoURL"), repo)
            and (not branch or _source_field(app, "targetRevision") in {branch, ref, "", "HEAD"})
        )
        self._log.info("hint taken", repository=show(repo), ref=ref, applications=count)
        return count

    def _refresh(self, apps: Iterable[AppState]) -> int:
        count, now = 0, time.monotonic()
        for app in apps:
            app.fetch = True
            app.asked_at = now
            app.not_before = 0.0
            self._queue.add(str(app.identity))
            count += 1
        return count

    def _wake(self, key: str) -> None:
        app = self._registry.find_app(key)
        wait_s = 0.0 if app is None else max(0.0, app.not_before - time.monotonic())
        self._queue.add(key, wait_s)

    # -- beginning -------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Read the inventories, then follow the Applications; tries again until it is done."""
        told = ""
        while not self._stopping.is_set():
            try:
                if self._follow():
                    return
                problem = "the cluster does not know applications.argoproj.io"
            except AgentError as error:
                problem = str(error)
            except Exception:  # noqa: BLE001 - a supervisor
                # Whatever it was, the agent must not sit there without its watches.
                problem = "unforeseen"
                self._log.exception("begin crashed")
            if problem != told:
                self._log.warning("cluster not ready", error=problem)
                told = problem
            self._stopping.wait(_BEGIN_PAUSE_S)

    def _follow(self) -> bool:
        kind = self._cluster.find_kind(*_APPLICATION)
        if kind is None:
            return False
        for app, inventory in self._store.load().items():
            namespace, _, name = app.partition("/")
            state = self._registry.ensure_app(AppIdentity(namespace=namespace, name=name))
            state.inventory = inventory
            self._registry.claim(app, inventory.entries)
        for namespace in self._options.namespaces:
            self._watches.ensure(Selection(kind=kind, namespace=namespace))
        self._log.info("following applications", namespaces=list(self._options.namespaces))
        return True

    def _is_complete(self, namespace: str) -> bool:
        kind = self._cluster.find_kind(*_APPLICATION)
        return kind is not None and self._watches.is_listed(
            Selection(kind=kind, namespace=namespace)
        )

    def _announce(self, state: AppState, app: Application, seen: Seen) -> None:
        desired = seen.desired.objects
        self._publisher.announce(
            state,
            app,
            Finding(
                sync=findings.sync_status(seen.plan),
                health=findings.health(self._registry, desired),
                resources=findings.resources(self._registry, seen.plan, str),
                held=seen.plan.held,
                replicas=findings.replicas(self._registry, desired),
            ),
        )


def _source_field(app: AppState, name: str) -> str:
    spec = (app.manifest or {}).get("spec")
    source = spec.get("source") if isinstance(spec, dict) else None
    value = source.get(name) if isinstance(source, dict) else None
    return value if isinstance(value, str) else ""
