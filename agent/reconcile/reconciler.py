"""One look at one Application, as plain blocking code: source, render, compare, plan, sync, observe, tell.

Level-triggered: whatever the reason for the look, all of it is done, and what has not changed costs nothing. Until source,
renderer and watches have answered without a single error nothing is written and nothing deleted.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from agent.api.application import parse_application
from agent.api.conditions import Condition, parse_time
from agent.cluster.port import Cluster, Kind, Selection
from agent.core.application import Application
from agent.core.health.result import HealthResult
from agent.core.inventory import Inventory
from agent.core.objects import LABEL, DesiredObject, Manifest, ObjectKey
from agent.core.plan import Plan, PlanOptions, plan
from agent.core.redact import Scrubber
from agent.core.report import ApplicationGone
from agent.core.states import Health, SyncStatus
from agent.errors import AgentError
from agent.reconcile import drift, findings, memory
from agent.reconcile.compare import Comparer, Kinds, without_reclaim
from agent.reconcile.deletion import Deleter
from agent.reconcile.guards import find_rival
from agent.reconcile.loading import Loader
from agent.reconcile.options import ReconcileOptions, ReportSink
from agent.reconcile.pods import PodBook
from agent.reconcile.publish import Finding, Publisher
from agent.reconcile.state import AppState, Desired, Registry
from agent.reconcile.steps import Steps
from agent.reconcile.watches import WatchSet
from agent.source.port import Source

_LISTING_S = 20.0
log = structlog.get_logger("agent.reconciler")
_UNKNOWN = HealthResult(health=Health.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a reconciler works with; the engine builds them."""

    cluster: Cluster
    source: Source
    registry: Registry
    loader: Loader
    comparer: Comparer
    steps: Steps
    deleter: Deleter
    publisher: Publisher
    watches: WatchSet
    pods: PodBook
    report: ReportSink
    options: ReconcileOptions
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    is_complete: Callable[[str], bool]  # have all Applications of this namespace been listed


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An Application against the cluster, at one moment."""

    desired: Desired
    kinds: Kinds
    plan: Plan
    changes: drift.Changes


def _log_look(app: Application, view: View, *, wrote: bool, seconds: Sequence[float]) -> None:
    """Log what a look that mattered did; `seconds`: git's network, until the desired state was there, in all."""
    log.info(
        "application synced" if wrote else "application compared",
        application=str(app.identity),
        revision=view.desired.revision,
        writes=sum(action.writes for action in view.plan.actions) if wrote else 0,
        fetch_ms=round(seconds[0] * 1000, 1),
        load_ms=round(seconds[1] * 1000, 1),
        total_ms=round(seconds[2] * 1000, 1),
    )


class Reconciler:
    """Looks at Applications. One look an Application at a time is the queue's promise."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def reconcile(self, key: str) -> float | None:
        """Look once; returns after how many seconds to look again at the latest, None for not at all."""
        state = self._parts.registry.find_app(key)
        if state is None:
            return None
        manifest = state.manifest
        if manifest is None:
            return self._forget(state)
        if manifest["metadata"].get("deletionTimestamp"):
            return self._parts.deleter.finalize(state, manifest)
        app: Application | None = None
        try:
            app = parse_application(manifest, self._parts.options.home_namespace)
            return None if app.skip_reconcile else self._look(state, app, manifest)
        except AgentError as error:
            self._tell_error(state, app, error)
            if error.retry:
                raise
            return self._until_poll(state)

    def _look(self, state: AppState, app: Application, manifest: Manifest) -> float:
        if rival := self._rival(app, manifest):
            return self._stand_back(state, app, rival)
        begun, known = time.perf_counter(), state.desired
        desired = self._parts.loader.load(state, app)
        loaded_s = time.perf_counter() - begun
        memory.restore(state, app, self._parts.source)
        scrubber = _scrubber(desired)
        before = self._view(state, app, desired)
        fresh = drift.note(state, before.changes, self._parts.now(), scrubber.scrub)
        outcome = self._parts.steps.advance(state, app, before, scrubber.scrub, fresh=fresh)
        if outcome.wrote or known is None or known.revision != desired.revision:
            total_s = time.perf_counter() - begun
            seconds = (state.fetch_s, loaded_s, total_s)
            _log_look(app, before, wrote=outcome.wrote, seconds=seconds)
        after = self._view(state, app, desired) if outcome.wrote else before
        drift.note_healed(state, after.changes, self._parts.now())
        drift.settle(state, self._parts.now())
        unhealthy = findings.unhealthy(self._parts.registry, desired.objects)
        pods_s = self._parts.pods.follow(str(app.identity), unhealthy)
        state.problems = self._parts.pods.problems(str(app.identity), scrubber.scrub)
        finding = replace(
            self._finding(state, after, outcome.conditions, scrubber),
            done=outcome.done,
            refreshed=bool(app.refresh),
        )
        status_s = self._parts.publisher.publish(state, app, finding)
        later = (self._until_poll(state), outcome.again_s, pods_s, status_s)
        return min(delay for delay in later if delay is not None)

    # -- seeing ----------------------------------------------------------------------------------

    def _view(self, state: AppState, app: Application, desired: Desired) -> View:
        inventory = state.inventory or Inventory(app=app.identity)
        keys = {*(item.key for item in desired.objects), *inventory.entries}
        self._parts.registry.claim(str(app.identity), keys)
        kinds = self._kinds(desired.objects, inventory)
        selections = {Selection(kind=kind, labels=LABEL) for kind in kinds.by_key.values()}
        for selection in selections:
            self._parts.watches.ensure(selection)
        self._parts.watches.wait_listed(selections, _LISTING_S)
        live = self._parts.comparer.facts(state, desired.objects, inventory, kinds)
        automated = app.sync_policy.automated
        if app.operation is None and (automated is None or not automated.self_heal):
            live = {key: without_reclaim(facts) for key, facts in live.items()}
        options = PlanOptions(
            prune=self._may_prune(app),
            allow_empty=automated is not None and automated.allow_empty,
            approved=_is_approved(app, state),
            only=app.operation.resources if app.operation else None,
        )
        return View(
            desired=desired,
            kinds=kinds,
            plan=plan(desired.objects, inventory, live, options),
            changes=drift.find_changes(self._parts.registry, [i.key for i in desired.objects]),
        )

    def _kinds(self, desired: Sequence[DesiredObject], inventory: Inventory) -> Kinds:
        """Find where everything is kept: desired kinds at the manifest's version (rule E5)."""
        found: dict[ObjectKey, Kind] = {}
        by_group_kind: dict[tuple[str, str], Kind] = {}
        for item in desired:
            kind = self._parts.cluster.find_kind(item.api_version, item.key.kind)
            if kind is not None:
                found[item.key] = kind
                by_group_kind[item.key.group, item.key.kind] = kind
        for key in inventory.entries:
            if key in found:
                continue
            kind = by_group_kind.get((key.group, key.kind))
            kind = kind or self._parts.cluster.find_served(key.group, key.kind)
            if kind is not None:
                found[key] = by_group_kind[key.group, key.kind] = kind
        return Kinds(by_key=found)

    def _finding(
        self,
        state: AppState,
        view: View,
        conditions: Sequence[Condition],
        scrubber: Scrubber,
    ) -> Finding:
        registry, desired = self._parts.registry, view.desired.objects
        standing = [
            *conditions,
            *findings.warnings(view.plan),
            *(
                Condition(type="DriftWarning", message=line)
                for line in drift.describe(view.changes, scrubber.scrub)
            ),
        ]
        if state.contested:
            standing.append(Condition(type="ContestedWarning", message=state.contested))
        return Finding(
            sync=findings.sync_status(view.plan),
            health=findings.health(registry, desired),
            resources=findings.resources(registry, view.plan, scrubber.scrub),
            pruning=findings.left_over(view.plan),
            conditions=tuple(standing),
            held=view.plan.held,
            extra=findings.list_extra(registry, desired, scrubber.scrub),
            replicas=findings.replicas(registry, desired),
        )

    # -- the other ways a look can end ----------------------------------------------------------

    def _rival(self, app: Application, manifest: Manifest) -> str:
        wanted = self._parts.options.take_over
        if "*" in wanted or str(app.identity) in wanted:
            return ""
        home = self._parts.options.home_namespace
        return find_rival(manifest, home, self._parts.now())

    def _stand_back(self, state: AppState, app: Application, rival: str) -> float:
        """Say that another controller manages it: to the hub only, the status is that one's."""
        condition = Condition(type="OtherControllerError", message=rival)
        state.status = {"conditions": [{"type": condition.type, "message": condition.message}]}
        self._parts.publisher.announce(
            state, app, Finding(sync=SyncStatus.UNKNOWN, health=_UNKNOWN, conditions=(condition,))
        )
        return self._parts.options.poll_interval_s

    def _tell_error(self, state: AppState, app: Application | None, error: AgentError) -> None:
        """Say what stopped the look; health stays what the watches last said."""
        desired = state.desired.objects if state.desired else ()
        health = findings.health(self._parts.registry, desired) if desired else _UNKNOWN
        message = f"{error.message} ({error.hint})" if error.hint else error.message
        condition = Condition(type=error.condition, message=Scrubber().scrub(message))
        asked = bool(state.manifest and state.manifest.get("operation"))
        if asked and not error.retry:
            memory.begin(state, "", self._parts.now(), automated=False)
            memory.end(state, "Error", condition.message, self._parts.now())
        self._parts.publisher.publish(
            state,
            app,
            Finding(
                sync=SyncStatus.UNKNOWN,
                health=health,
                conditions=(condition,),
                replicas=findings.replicas(self._parts.registry, desired),
                done=asked and not error.retry,
                refreshed=app is not None and bool(app.refresh),
            ),
        )

    def _forget(self, state: AppState) -> float | None:
        key = str(state.identity)
        if not self._parts.is_complete(state.identity.namespace):
            return 1.0
        self._parts.pods.follow(key, ())
        self._parts.deleter.release(state)
        self._parts.report(ApplicationGone(app=key))
        return None

    def _may_prune(self, app: Application) -> bool:
        if app.sync_policy.prune_disabled:
            return False
        if app.operation is not None:
            return app.operation.prune
        return app.sync_policy.automated is not None and app.sync_policy.automated.prune

    def _until_poll(self, state: AppState) -> float:
        return max(0.0, state.next_fetch - self._parts.monotonic())


def _is_approved(app: Application, state: AppState) -> bool:
    """Tell whether somebody consented to the held prunes after they were first held."""
    approved = parse_time(app.deletion_approved)
    held = [
        parse_time(entry.get("lastTransitionTime"))
        for entry in state.status.get("conditions") or ()
        if entry.get("type") == "PruneHeldWarning"
    ]
    since = next((instant for instant in held if instant is not None), None)
    return approved is not None and since is not None and approved >= since


def _scrubber(desired: Desired) -> Scrubber:
    return Scrubber.of_secrets(
        item.manifest
        for item in desired.objects
        if item.key.group == "" and item.key.kind == "Secret"
    )
