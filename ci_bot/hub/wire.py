"""The agents' messages as values of `core.rollout`. Text in them is foreign; the comment makes it inert."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from ci_bot.core.rollout import (
    AppState,
    Condition,
    Drift,
    Health,
    Image,
    Operation,
    Problem,
    Resource,
    SyncStatus,
)
from protos.lockgate.v1 import agent_pb2 as pb

_SYNC = {pb.SYNCED: SyncStatus.SYNCED, pb.OUT_OF_SYNC: SyncStatus.OUT_OF_SYNC}
_HEALTH = {
    pb.HEALTHY: Health.HEALTHY,
    pb.SUSPENDED: Health.SUSPENDED,
    pb.PROGRESSING: Health.PROGRESSING,
    pb.MISSING: Health.MISSING,
    pb.DEGRADED: Health.DEGRADED,
}


def content_of(report: Any) -> bytes:
    """Return a report's bytes without its number: what is stored, and what its digest is of."""
    content = pb.ApplicationReport()
    content.CopyFrom(report)
    content.seq = 0
    return content.SerializeToString(deterministic=True)


def digest_of(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def to_app_state(content: bytes, cluster: str, *, connected: bool) -> AppState:
    """Return the state behind stored bytes."""
    report = pb.ApplicationReport.FromString(content)
    return AppState(
        cluster=cluster,
        app=report.app,
        repo=report.repo,
        path=report.path,
        target_revision=report.target_revision,
        revision=report.revision,
        change_revision=report.change_revision,
        previous_revision=report.previous_revision,
        sync=_SYNC.get(report.sync, SyncStatus.UNKNOWN),
        health=_HEALTH.get(report.health, Health.UNKNOWN),
        health_message=report.health_message,
        operation=_operation(report),
        resources=tuple(_resource(item) for item in report.resources),
        conditions=tuple(Condition(type=c.type, message=c.message) for c in report.conditions),
        images=tuple(Image(image=i.image, previous=i.previous) for i in report.images),
        drift=tuple(_drift(item) for item in report.drift),
        problems=tuple(
            Problem(resource=p.resource, reason=p.reason, message=p.message)
            for p in report.problems
        ),
        held=tuple(report.held),
        extra=tuple(report.extra),
        observed_at=_instant(report, "observed_at"),
        healthy_since=_instant(report, "healthy_since"),
        applied_at=_instant(report, "applied_at"),
        replicas_ready=report.replicas.ready,
        replicas_desired=report.replicas.desired,
        connected=connected,
    )


def _operation(report: Any) -> Operation | None:
    if not report.HasField("operation"):
        return None
    found = report.operation
    return Operation(phase=found.phase, message=found.message, revision=found.revision)


def _resource(item: Any) -> Resource:
    health = (
        None if item.health == pb.HEALTH_UNSPECIFIED else _HEALTH.get(item.health, Health.UNKNOWN)
    )
    return Resource(
        kind=item.kind,
        namespace=item.namespace,
        name=item.name,
        sync=_SYNC.get(item.sync, SyncStatus.UNKNOWN),
        health=health,
        message=item.message,
    )


def _drift(item: Any) -> Drift:
    return Drift(
        resource=item.resource,
        field=item.field,
        manager=item.manager,
        was=item.was,
        became=item.became,
        seen_at=_instant(item, "seen_at"),
        healed_at=_instant(item, "healed_at"),
    )


def _instant(message: Any, field: str) -> datetime | None:
    """Return an instant, or None where it is unset or beyond what a calendar can say."""
    if not message.HasField(field):
        return None
    try:
        at: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return at
