"""The Application's `.status`, in exactly the field names that Argo CD's tools read.

Built from facts, whole, each time; the caller writes it only when it differs from the last one by more than
`reconciledAt`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.core.application import Application
from agent.core.health.result import HealthResult
from agent.core.images import images_of
from agent.core.objects import Manifest
from agent.core.report import Operation, ResourceReport
from agent.core.states import SyncStatus

Status = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedResource:
    """One line of an operation's result."""

    group: str
    version: str
    kind: str
    namespace: str
    name: str
    status: str  # Synced | SyncFailed | Pruned | PruneSkipped
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One successful full sync."""

    id: int
    revision: str
    deployed_at: datetime
    deploy_started_at: datetime
    automated: bool = False
    username: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusFacts:
    application: Application
    sync: SyncStatus
    revision: str
    health: HealthResult
    health_changed_at: datetime | None
    reconciled_at: datetime | None
    controller_namespace: str
    resources: Sequence[ResourceReport] = ()
    requires_pruning: frozenset[tuple[str, str, str, str]] = frozenset()  # group, kind, ns, name
    conditions: Sequence[Mapping[str, Any]] = ()
    operation: Operation | None = None
    operation_results: Sequence[SyncedResource] = ()
    retry_count: int = 0
    images: Sequence[str] = ()
    history: Sequence[HistoryEntry] = ()


def build_status(facts: StatusFacts) -> Status:
    """Return the whole status; empty and unknown parts are left out, as Argo CD leaves them out."""
    source = _source(facts.application)
    destination = {
        "server": "https://kubernetes.default.svc",
        "namespace": facts.application.destination_namespace,
    }
    sync = {
        "status": str(facts.sync),
        "revision": facts.revision,
        "comparedTo": {"source": source, "destination": _compact(destination)},
    }
    health = {
        "status": str(facts.health.health),
        "message": facts.health.message,
        "lastTransitionTime": timestamp(facts.health_changed_at),
    }
    return _compact(
        {
            "sync": _compact(sync),
            "health": _compact(health),
            "resources": [_resource(item, facts) for item in facts.resources],
            "operationState": _operation(facts, source),
            "history": [_history(entry, source) for entry in _recent(facts)],
            "conditions": [dict(condition) for condition in facts.conditions],
            "summary": _compact({"images": sorted(set(facts.images))}),
            "reconciledAt": timestamp(facts.reconciled_at),
            "sourceType": "Directory",
            "controllerNamespace": facts.controller_namespace,
        }
    )


def is_same_status(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Tell whether two statuses say the same: a newer `reconciledAt` alone is worth no write (D46)."""
    return {**left, "reconciledAt": None} == {**right, "reconciledAt": None}


def timestamp(instant: datetime | None) -> str:
    """Return RFC 3339 in UTC with whole seconds, as the API server spells it; empty for None."""
    if instant is None:
        return ""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def summary_images(manifests: Iterable[Manifest]) -> tuple[str, ...]:
    """Return the images of live or desired workloads, sorted, each once."""
    return tuple(sorted({image for manifest in manifests for image in images_of(manifest)}))


def next_history(
    history: Sequence[HistoryEntry], entry: HistoryEntry, limit: int
) -> tuple[HistoryEntry, ...]:
    """Append a successful full sync under the next id, and forget the oldest beyond the limit."""
    number = max((old.id for old in history), default=-1) + 1
    numbered = HistoryEntry(
        id=number,
        revision=entry.revision,
        deployed_at=entry.deployed_at,
        deploy_started_at=entry.deploy_started_at,
        automated=entry.automated,
        username=entry.username,
    )
    return (*history, numbered)[-limit:] if limit > 0 else ()


def _recent(facts: StatusFacts) -> Sequence[HistoryEntry]:
    limit = facts.application.revision_history_limit
    return facts.history[-limit:] if limit > 0 else ()


def _source(application: Application) -> dict[str, Any]:
    source = application.source
    directory = _compact(
        {
            "recurse": source.directory.recurse,
            "include": source.directory.include,
            "exclude": source.directory.exclude,
        }
    )
    return _compact(
        {
            "repoURL": source.repo_url,
            "path": source.path,
            "targetRevision": source.target_revision,
            "directory": directory,
        }
    )


def _resource(item: ResourceReport, facts: StatusFacts) -> dict[str, Any]:
    health = _compact({"status": str(item.health), "message": item.message}) if item.health else {}
    identity = (item.group, item.kind, item.namespace, item.name)
    return _compact(
        {
            "group": item.group,
            "version": item.version,
            "kind": item.kind,
            "namespace": item.namespace,
            "name": item.name,
            "status": str(item.sync),
            "health": health,
            "requiresPruning": identity in facts.requires_pruning,
        }
    )


def _operation(facts: StatusFacts, source: dict[str, Any]) -> dict[str, Any]:
    operation = facts.operation
    if operation is None:
        return {}
    result = {
        "revision": operation.revision,
        "source": source,
        "resources": [_result(item) for item in facts.operation_results],
    }
    started_by = {"automated": True} if operation.automated else {}
    state = {
        "operation": _compact(
            {"initiatedBy": started_by, "sync": _compact({"revision": operation.revision})}
        ),
        "phase": operation.phase,
        "message": operation.message,
        "startedAt": timestamp(operation.started_at),
        "finishedAt": timestamp(operation.finished_at),
        "retryCount": facts.retry_count,
        # `revision` is required by Argo CD's schema even when it is not known yet.
        "syncResult": {"revision": operation.revision, **_compact(result)},
    }
    # `operation` is required by Argo CD's schema even when it says nothing.
    return {"operation": {}, **_compact(state)}


def _result(item: SyncedResource) -> dict[str, Any]:
    # group, namespace and version are required by Argo CD's schema even when empty.
    return {
        "group": item.group,
        "version": item.version,
        "kind": item.kind,
        "namespace": item.namespace,
        "name": item.name,
        **_compact({"status": item.status, "message": item.message, "syncPhase": "Sync"}),
    }


def _history(entry: HistoryEntry, source: dict[str, Any]) -> dict[str, Any]:
    by = _compact({"automated": entry.automated, "username": entry.username})
    return {
        "id": entry.id,
        "revision": entry.revision,
        "source": source,
        "deployedAt": timestamp(entry.deployed_at),
        "deployStartedAt": timestamp(entry.deploy_started_at),
        **_compact({"initiatedBy": by}),
    }


def _compact(fields: dict[str, Any]) -> dict[str, Any]:
    """Drop what is empty, false or zero: Argo CD's fields are `omitempty`."""
    return {name: value for name, value in fields.items() if value}
