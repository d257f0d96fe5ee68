"""From a plan and what is known of the objects to what is told: resources, health, conditions."""

from collections.abc import Callable, Sequence

from agent.api.conditions import Condition
from agent.core.health import Assessed, HealthResult, aggregate
from agent.core.health.aggregate import is_ignored
from agent.core.objects import DesiredObject, ObjectKey, annotations_of
from agent.core.plan import Action, ActionKind, Plan
from agent.core.report import ResourceReport
from agent.core.states import Health, SyncStatus
from agent.reconcile.state import ObjectState, Registry

_LEFT_OVER = frozenset({ActionKind.PRUNED, ActionKind.HELD})


def sync_status(plan: Plan) -> SyncStatus:
    return SyncStatus.SYNCED if plan.in_sync else SyncStatus.OUT_OF_SYNC


def resources(
    registry: Registry, plan: Plan, scrub: Callable[[str], str]
) -> tuple[ResourceReport, ...]:
    """Return one line an object, in the order of the plan."""
    return tuple(_resource(registry.find_object(a.key), a, scrub) for a in plan.actions)


def left_over(plan: Plan) -> frozenset[tuple[str, str, str, str]]:
    """Return the objects that git states no longer."""
    return frozenset(
        (action.key.group, action.key.kind, action.key.namespace, action.key.name)
        for action in plan.actions
        if action.desired is None
    )


def health(registry: Registry, desired: Sequence[DesiredObject]) -> HealthResult:
    """Return the Application's health by Argo CD's rule."""
    return aggregate([_assessed(registry, item) for item in desired])


def unhealthy(registry: Registry, desired: Sequence[DesiredObject]) -> list[DesiredObject]:
    """Return the objects that exist and are not Healthy."""
    found = []
    for item in desired:
        state = _live(registry, item.key)
        result = state.health if state is not None else None
        if result is not None and result.health not in {Health.HEALTHY, Health.SUSPENDED}:
            found.append(item)
    return found


def replicas(registry: Registry, desired: Sequence[DesiredObject]) -> tuple[int, int]:
    """Return pods (ready, desired) over all workloads."""
    ready = wanted = 0
    for item in desired:
        state = _live(registry, item.key)
        if state is not None:
            ready, wanted = ready + state.replicas[0], wanted + state.replicas[1]
    return ready, wanted


def list_extra(
    registry: Registry, desired: Sequence[DesiredObject], scrub: Callable[[str], str]
) -> tuple[str, ...]:
    """Return what others added beside what git states (D47)."""
    lines: list[str] = []
    for item in desired:
        state = _live(registry, item.key)
        lines.extend(scrub(line) for line in (state.extra if state else ()))
    return tuple(lines)


def warnings(plan: Plan) -> list[Condition]:
    """Return conditions about what the plan does not do."""
    found = [Condition(type="SharedResourceWarning", message=line) for line in plan.shared]
    found += [Condition(type="PruneHeldWarning", message=line) for line in plan.held]
    found += [
        Condition(
            type="OrphanedResourceWarning", message=f"{action.key} is not pruned: {action.reason}"
        )
        for action in plan.actions
        if action.desired is None and action.kind is ActionKind.SKIPPED and action.reason
    ]
    return found


def would_prune_all(plan: Plan) -> bool:
    """Tell whether nothing would be left."""
    return bool(plan.actions) and all(action.desired is None for action in plan.actions)


def _resource(
    state: ObjectState | None, action: Action, scrub: Callable[[str], str]
) -> ResourceReport:
    key = action.key
    live = state if state is not None and state.uid else None
    api_version = action.desired.api_version if action.desired else live.api_version if live else ""
    synced = action.kind is ActionKind.UNCHANGED
    result = live.health if live else None
    message = result.message if result else ""
    if not synced and action.reason:
        message = f"{action.reason}; {message}" if message else action.reason
    return ResourceReport(
        group=key.group,
        version=api_version.rpartition("/")[2],
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        sync=SyncStatus.SYNCED if synced else SyncStatus.OUT_OF_SYNC,
        health=result.health if result else None if live else Health.MISSING,
        message=scrub(message),
    )


def _assessed(registry: Registry, item: DesiredObject) -> Assessed:
    state = _live(registry, item.key)
    return Assessed(
        key=item.key,
        live=state is not None,
        health=state.health if state else None,
        ignored=is_ignored(annotations_of(item.manifest)),
    )


def _live(registry: Registry, key: ObjectKey) -> ObjectState | None:
    state = registry.find_object(key)
    return state if state is not None and state.uid else None
