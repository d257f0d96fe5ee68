"""One sync: inventory, applies in order, prunes, inventory. The only place that writes managed objects.

An object whose apply fails does not stop the others of the sync; it stops every prune. A server that cannot be reached
ends the sync at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.cluster.port import Cluster, Place
from agent.core import inventory as inventories
from agent.core.inventory import Entry, Inventory
from agent.core.objects import DesiredObject, ObjectKey, group_of
from agent.core.ownership import record
from agent.core.plan import Action, ActionKind, Plan
from agent.core.status import SyncedResource
from agent.errors import AgentError, ClusterError, ClusterUnavailableError
from agent.reconcile.compare import Kinds
from agent.reconcile.metrics import EngineMetrics
from agent.reconcile.observed import clear, observe, resource_version
from agent.reconcile.repair import apply_object
from agent.reconcile.state import AppState, Registry
from agent.reconcile.store import InventoryStore


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRequest:
    app: AppState
    plan: Plan
    desired: Sequence[DesiredObject]
    kinds: Kinds
    namespace_to_create: str = ""


@dataclass(slots=True, kw_only=True)
class SyncOutcome:
    results: list[SyncedResource] = field(default_factory=list)
    errors: list[AgentError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gone: list[ObjectKey] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        return not self.errors


class Syncer:
    """Carries plans out. Thread-safe; one sync an Application at a time is the caller's duty."""

    def __init__(
        self,
        cluster: Cluster,
        registry: Registry,
        store: InventoryStore,
        key: bytes,
        metrics: EngineMetrics,
    ) -> None:
        self._cluster = cluster
        self._registry = registry
        self._store = store
        self._key = key
        self._metrics = metrics

    def run(self, request: SyncRequest, scrub: Callable[[str], str]) -> SyncOutcome:
        """Carry out a plan; errors of single objects are in the outcome, those of the whole are raised."""
        outcome = SyncOutcome()
        writes = [action for action in request.plan.actions if action.writes]
        self._claim(request, [a.key for a in writes if a.kind is ActionKind.CREATED])
        if request.namespace_to_create:
            self._create_namespace(request.namespace_to_create)
        try:
            for action in writes:
                if action.kind is not ActionKind.PRUNED:
                    self._apply(request, action, outcome, scrub)
            for action in writes:
                if action.kind is ActionKind.PRUNED:
                    self._prune(request, action, outcome)
        except ClusterUnavailableError as error:
            outcome.errors.append(error)
        self._record(request, outcome)
        return outcome

    def _claim(self, request: SyncRequest, created: Sequence[ObjectKey]) -> None:
        """Write down what is about to be created: a crash in between must not orphan it (D14)."""
        inventory = _inventory(request.app)
        grown = inventories.before(inventory, created)
        if grown is not inventory:
            self._store.save(grown)
            request.app.inventory = grown

    def _record(self, request: SyncRequest, outcome: SyncOutcome) -> None:
        inventory = _inventory(request.app)
        known = self.known(request.desired)
        gone = [*request.plan.gone, *outcome.gone]
        exact = inventories.after(inventory, known, gone)
        if exact is inventory:
            return
        try:
            self._store.save(exact)
        except AgentError as error:
            # The union written before still covers everything; the next sync that writes makes it exact.
            outcome.errors.append(error)
        else:
            request.app.inventory = exact

    def known(self, desired: Sequence[DesiredObject]) -> Mapping[ObjectKey, Entry]:
        """Return what is known of the desired objects that are as git states."""
        found: dict[ObjectKey, Entry] = {}
        for item in desired:
            state = self._registry.find_object(item.key)
            if state is None or state.owned is None or state.hash != item.hash or not state.uid:
                continue
            # What is written down of a Secret must not let anybody guess its value.
            secret = item.key.group == "" and item.key.kind == "Secret"
            found[item.key] = Entry(
                uid=state.uid,
                hash="" if secret else item.hash,
                digest="" if secret else state.owned.digest,
            )
        return found

    def _create_namespace(self, name: str) -> None:
        kind = self._cluster.find_kind("v1", "Namespace")
        if kind is None:
            raise ClusterError("the cluster does not serve namespaces")
        place = Place(kind=kind, name=name)
        if self._cluster.find(place) is not None:
            return
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            self._cluster.create(place, body)
        except ClusterError as error:
            if error.code != "AlreadyExists":
                raise

    def _apply(
        self,
        request: SyncRequest,
        action: Action,
        outcome: SyncOutcome,
        scrub: Callable[[str], str],
    ) -> None:
        desired = action.desired
        if desired is None:
            return
        try:
            place = self._place(request, desired)
            applied = apply_object(self._cluster, place, desired, action.uid)
        except ClusterUnavailableError:
            raise
        except ClusterError as error:
            self._metrics.writes.labels(action="failed").inc()
            outcome.errors.append(error)
            outcome.results.append(_result(desired, "SyncFailed", scrub(error.message)))
            return
        self._metrics.writes.labels(action=str(action.kind)).inc(applied.writes)
        outcome.notes.extend(applied.notes)
        with self._registry.lock:
            state = self._registry.ensure_object(desired.key)
            pending, seen = state.live, state.version
            newest = state.uid != applied.live["metadata"]["uid"] or seen <= resource_version(
                applied.live
            )
            if newest:
                observe(state, applied.live, self._key, request.app.identity)
                state.live = None
            else:
                # Somebody has changed it again meanwhile: that is judged against the new baseline.
                state.live = pending
            self._registry.keep(
                state, record(desired.manifest, applied.live, self._key), desired.hash
            )
        outcome.results.append(_result(desired, "Synced", str(action.kind)))

    def _prune(self, request: SyncRequest, action: Action, outcome: SyncOutcome) -> None:
        place = request.kinds.place(action.key)
        if outcome.errors or place is None:
            # Deletes follow only a sync without a single error.
            outcome.results.append(
                _result_of_key(action.key, "PruneSkipped", "an apply of this sync failed")
            )
            return
        try:
            self._cluster.delete(place, uid=action.uid)
        except ClusterUnavailableError:
            raise
        except ClusterError as error:
            outcome.errors.append(error)
            outcome.results.append(_result_of_key(action.key, "SyncFailed", error.message))
            return
        self._metrics.writes.labels(action="pruned").inc()
        outcome.gone.append(action.key)
        outcome.results.append(_result_of_key(action.key, "Pruned", "pruned"))
        with self._registry.lock:
            clear(self._registry.ensure_object(action.key))

    def _place(self, request: SyncRequest, desired: DesiredObject) -> Place:
        place = request.kinds.place(desired.key)
        if place is not None:
            return place
        kind = self._cluster.find_kind(desired.api_version, desired.key.kind)
        if kind is None:
            raise ClusterError(
                f"{desired.origin}: the cluster does not know {desired.api_version} {desired.key.kind}",
                hint="install its CustomResourceDefinition, or correct apiVersion and kind",
                status=404,
            )
        return Place(kind=kind, name=desired.key.name, namespace=desired.key.namespace)


def _inventory(app: AppState) -> Inventory:
    return app.inventory or Inventory(app=app.identity)


def _result(desired: DesiredObject, status: str, message: str) -> SyncedResource:
    return SyncedResource(
        group=group_of(desired.api_version),
        version=desired.api_version.rpartition("/")[2],
        kind=desired.key.kind,
        namespace=desired.key.namespace,
        name=desired.key.name,
        status=status,
        message=message,
    )


def _result_of_key(key: ObjectKey, status: str, message: str) -> SyncedResource:
    return SyncedResource(
        group=key.group,
        version="",
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        status=status,
        message=message,
    )
