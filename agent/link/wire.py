"""`agent.core.report` to protobuf and back. Nothing else in the agent knows the wire's types."""

import hashlib
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from agent.core.report import (
    ApplicationGone,
    ApplicationReport,
    ConditionReport,
    DriftReport,
    ImageReport,
    Operation,
    Problem,
    ResourceReport,
)
from agent.core.states import Health, SyncStatus
from protos.lockgate.v1 import agent_pb2 as pb

_SYNC = {
    SyncStatus.SYNCED: pb.SYNCED,
    SyncStatus.OUT_OF_SYNC: pb.OUT_OF_SYNC,
    SyncStatus.UNKNOWN: pb.SYNC_UNKNOWN,
}
_HEALTH = {
    Health.HEALTHY: pb.HEALTHY,
    Health.SUSPENDED: pb.SUSPENDED,
    Health.PROGRESSING: pb.PROGRESSING,
    Health.MISSING: pb.MISSING,
    Health.DEGRADED: pb.DEGRADED,
    Health.UNKNOWN: pb.HEALTH_UNKNOWN,
}
_SYNC_BACK = {wire: own for own, wire in _SYNC.items()}
_HEALTH_BACK = {wire: own for own, wire in _HEALTH.items()}


def encode(item: ApplicationReport | ApplicationGone, seq: int) -> pb.AgentMessage:
    """Return the message for a report or farewell; `seq` is 0 for content only."""
    if isinstance(item, ApplicationGone):
        return pb.AgentMessage(gone=pb.ApplicationGone(seq=seq, app=item.app))
    return pb.AgentMessage(report=encode_report(item, seq))


def encode_report(report: ApplicationReport, seq: int) -> pb.ApplicationReport:
    message = pb.ApplicationReport(
        seq=seq,
        app=report.app,
        project=report.project,
        repo=report.repo,
        path=report.path,
        target_revision=report.target_revision,
        destination_namespace=report.destination_namespace,
        revision=report.revision,
        change_revision=report.change_revision,
        previous_revision=report.previous_revision,
        sync=_SYNC[report.sync],
        health=_HEALTH[report.health],
        health_message=report.health_message,
        operation=None if report.operation is None else _encode_operation(report.operation),
        resources=[_encode_resource(resource) for resource in report.resources],
        conditions=[
            pb.Condition(type=c.type, message=c.message, last_transition=_stamp(c.last_transition))
            for c in report.conditions
        ],
        images=[pb.Image(image=i.image, previous=i.previous) for i in report.images],
        drift=[_encode_drift(drift) for drift in report.drift],
        problems=[
            pb.Problem(resource=p.resource, reason=p.reason, message=p.message)
            for p in report.problems
        ],
        held=report.held,
        observed_at=_stamp(report.observed_at),
        healthy_since=_stamp(report.healthy_since),
        applied_at=_stamp(report.applied_at),
        extra=report.extra,
    )
    message.replicas.ready = report.replicas_ready
    message.replicas.desired = report.replicas_desired
    return message


def decode_report(message: pb.ApplicationReport) -> ApplicationReport:
    """Return what was encoded; the hub has its own reading, this one keeps the two directions honest."""
    operation = _decode_operation(message.operation) if message.HasField("operation") else None
    return ApplicationReport(
        app=message.app,
        project=message.project,
        repo=message.repo,
        path=message.path,
        target_revision=message.target_revision,
        destination_namespace=message.destination_namespace,
        revision=message.revision,
        change_revision=message.change_revision,
        previous_revision=message.previous_revision,
        sync=_SYNC_BACK[message.sync],
        health=_HEALTH_BACK[message.health],
        health_message=message.health_message,
        operation=operation,
        resources=tuple(_decode_resource(resource) for resource in message.resources),
        conditions=tuple(
            ConditionReport(
                type=c.type,
                message=c.message,
                last_transition=_instant(c.last_transition, present=c.HasField("last_transition")),
            )
            for c in message.conditions
        ),
        images=tuple(ImageReport(image=i.image, previous=i.previous) for i in message.images),
        drift=tuple(_decode_drift(drift) for drift in message.drift),
        problems=tuple(
            Problem(resource=p.resource, reason=p.reason, message=p.message)
            for p in message.problems
        ),
        held=tuple(message.held),
        observed_at=_instant(message.observed_at, present=message.HasField("observed_at")),
        healthy_since=_instant(message.healthy_since, present=message.HasField("healthy_since")),
        applied_at=_instant(message.applied_at, present=message.HasField("applied_at")),
        replicas_ready=message.replicas.ready,
        replicas_desired=message.replicas.desired,
        extra=tuple(message.extra),
    )


def digest_report(report: ApplicationReport) -> bytes:
    """Return the digest of a report's content, without its sequence number."""
    content = encode_report(report, 0).SerializeToString(deterministic=True)
    return hashlib.sha256(content).digest()


def _encode_operation(operation: Operation) -> pb.Operation:
    return pb.Operation(
        phase=operation.phase,
        message=operation.message,
        revision=operation.revision,
        started_at=_stamp(operation.started_at),
        finished_at=_stamp(operation.finished_at),
        automated=operation.automated,
    )


def _decode_operation(message: pb.Operation) -> Operation:
    return Operation(
        phase=message.phase,
        message=message.message,
        revision=message.revision,
        started_at=_instant(message.started_at, present=message.HasField("started_at")),
        finished_at=_instant(message.finished_at, present=message.HasField("finished_at")),
        automated=message.automated,
    )


def _encode_resource(resource: ResourceReport) -> pb.Resource:
    health = pb.HEALTH_UNSPECIFIED if resource.health is None else _HEALTH[resource.health]
    return pb.Resource(
        group=resource.group,
        version=resource.version,
        kind=resource.kind,
        namespace=resource.namespace,
        name=resource.name,
        sync=_SYNC[resource.sync],
        health=health,
        message=resource.message,
    )


def _decode_resource(message: pb.Resource) -> ResourceReport:
    return ResourceReport(
        group=message.group,
        version=message.version,
        kind=message.kind,
        namespace=message.namespace,
        name=message.name,
        sync=_SYNC_BACK[message.sync],
        health=_HEALTH_BACK.get(message.health),
        message=message.message,
    )


def _encode_drift(drift: DriftReport) -> pb.Drift:
    return pb.Drift(
        resource=drift.resource,
        field=drift.field,
        manager=drift.manager,
        was=drift.was,
        became=drift.became,
        seen_at=_stamp(drift.seen_at),
        healed_at=_stamp(drift.healed_at),
    )


def _decode_drift(message: pb.Drift) -> DriftReport:
    return DriftReport(
        resource=message.resource,
        field=message.field,
        manager=message.manager,
        was=message.was,
        became=message.became,
        seen_at=_instant(message.seen_at, present=message.HasField("seen_at")),
        healed_at=_instant(message.healed_at, present=message.HasField("healed_at")),
    )


def _stamp(instant: datetime | None) -> Timestamp | None:
    if instant is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def _instant(stamp: Timestamp, *, present: bool) -> datetime | None:
    return stamp.ToDatetime(tzinfo=UTC) if present else None
