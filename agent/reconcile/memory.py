"""What an Application's own status remembers across a restart of the agent, and how a sync becomes history."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from agent.api.conditions import parse_time
from agent.core.application import Application
from agent.core.autosync import Attempt
from agent.core.report import Operation
from agent.core.status import HistoryEntry, SyncedResource, next_history
from agent.errors import AgentError
from agent.reconcile.state import AppState
from agent.source.port import Source


def restore(state: AppState, app: Application, source: Source) -> None:
    """Read back what the status tells of the past; once, after the first rendering."""
    if state.restored or state.manifest is None:
        return
    state.restored = True
    status = state.manifest.get("status")
    state.status = dict(status) if isinstance(status, dict) else {}
    state.history = tuple(_history(state.status))
    operation = _mapping(state.status, "operationState")
    if operation.get("phase"):
        _restore_operation(state, app, operation)
    health = _mapping(state.status, "health")
    state.health_changed_at = parse_time(health.get("lastTransitionTime"))
    desired = state.desired
    if desired is None:
        return
    sync = _mapping(state.status, "sync")
    level = health.get("status") == "Healthy" and sync.get("status") == "Synced"
    if level and sync.get("revision") == desired.revision:
        state.healthy_since = state.health_changed_at
    if state.history and state.history[-1].revision == desired.revision:
        state.applied_at = state.history[-1].deployed_at
    state.previous_revision = _previous(state, app, source)
    images = _mapping(state.status, "summary").get("images")
    if isinstance(images, list):
        state.previous_images = tuple(str(image) for image in images)


def begin(state: AppState, revision: str, now: datetime, *, automated: bool) -> None:
    """Note that a sync is running."""
    state.operation = Operation(
        phase="Running", revision=revision, started_at=now, automated=automated
    )
    state.results = ()


def end(state: AppState, phase: str, message: str, now: datetime) -> None:
    """Note how it ended."""
    if state.operation is not None:
        state.operation = replace(
            state.operation, phase=phase, message=message[:1024], finished_at=now
        )


def wait_for_retry(state: AppState) -> None:
    """Note that it will be tried again: Argo CD's tools read that as Running with an end."""
    if state.operation is not None:
        state.operation = replace(state.operation, phase="Running")


def remember_sync(state: AppState, app: Application, username: str) -> None:
    """Append a successful full sync to the history."""
    operation = state.operation
    if operation is None or operation.finished_at is None or operation.started_at is None:
        return
    state.applied_at = operation.finished_at
    if state.history and state.history[-1].revision == operation.revision:
        return
    entry = HistoryEntry(
        id=0,
        revision=operation.revision,
        deployed_at=operation.finished_at,
        deploy_started_at=operation.started_at,
        automated=operation.automated,
        username=username,
    )
    state.history = next_history(state.history, entry, app.revision_history_limit)


def _restore_operation(state: AppState, app: Application, operation: Mapping[str, Any]) -> None:
    result = _mapping(operation, "syncResult")
    revision = str(result.get("revision") or "")
    asked = _mapping(_mapping(operation, "operation"), "initiatedBy")
    state.operation = Operation(
        phase=str(operation["phase"]),
        message=str(operation.get("message") or ""),
        revision=revision,
        started_at=parse_time(operation.get("startedAt")),
        finished_at=parse_time(operation.get("finishedAt")),
        automated=bool(asked.get("automated")),
    )
    state.results = tuple(_result(item) for item in result.get("resources") or ())
    if operation["phase"] == "Succeeded" and _compared_with(state.status, app):
        state.attempt = Attempt(revision=revision, spec_digest=app.spec_digest, succeeded=True)


def _compared_with(status: Mapping[str, Any], app: Application) -> bool:
    """Tell whether the last sync was of this source: a changed spec is a new attempt."""
    source = _mapping(_mapping(_mapping(status, "sync"), "comparedTo"), "source")
    return (source.get("repoURL"), source.get("path", ""), source.get("targetRevision")) == (
        app.source.repo_url,
        app.source.path,
        app.source.target_revision,
    )


def _previous(state: AppState, app: Application, source: Source) -> str:
    """Return the change that was live before this one, by the history and git."""
    current = state.desired.change_revision if state.desired else ""
    for entry in reversed(state.history):
        try:
            change = source.find_change(app.source.repo_url, entry.revision, app.source.path)
        except AgentError:
            return ""
        if change != current:
            return change
    return ""


def _history(status: Mapping[str, Any]) -> list[HistoryEntry]:
    found = status.get("history")
    entries = []
    for item in found if isinstance(found, list) else ():
        deployed = parse_time(item.get("deployedAt"))
        if deployed is None:
            continue
        by = _mapping(item, "initiatedBy")
        entries.append(
            HistoryEntry(
                id=int(item.get("id") or 0),
                revision=str(item.get("revision") or ""),
                deployed_at=deployed,
                deploy_started_at=parse_time(item.get("deployStartedAt")) or deployed,
                automated=bool(by.get("automated")),
                username=str(by.get("username") or ""),
            )
        )
    return entries


def _result(item: Mapping[str, Any]) -> SyncedResource:
    return SyncedResource(
        group=str(item.get("group") or ""),
        version=str(item.get("version") or ""),
        kind=str(item.get("kind") or ""),
        namespace=str(item.get("namespace") or ""),
        name=str(item.get("name") or ""),
        status=str(item.get("status") or ""),
        message=str(item.get("message") or ""),
    )


def _mapping(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = parent.get(name)
    return found if isinstance(found, dict) else {}
