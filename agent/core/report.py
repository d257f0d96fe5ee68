"""What the agent says of one Application; the values behind `lockgate.v1.ApplicationReport`.

Free text in here has been through the scrubber already (`redact`): nothing of a Secret's value leaves the cluster.
Instants are aware UTC.
"""

from dataclasses import dataclass, field
from datetime import datetime

from agent.core.states import Health, SyncStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    phase: str  # Running | Terminating | Failed | Error | Succeeded
    message: str = ""
    revision: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    automated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceReport:
    group: str
    version: str
    kind: str
    namespace: str
    name: str
    sync: SyncStatus
    health: Health | None = None  # None where the kind has no health
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionReport:
    type: str
    message: str
    last_transition: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    image: str
    previous: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    resource: str  # "Deployment myapp/myapp"
    field: str  # "spec.replicas"
    manager: str = ""  # empty when managedFields names nobody
    was: str = ""  # what git states; empty for Secrets
    became: str = ""
    seen_at: datetime | None = None
    healed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    resource: str  # "Pod myapp/myapp-7d9c"
    reason: str  # CrashLoopBackOff
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationReport:
    app: str  # namespace/name
    project: str = "default"
    repo: str = ""  # without userinfo
    path: str = ""
    target_revision: str = ""
    destination_namespace: str = ""
    revision: str = ""
    change_revision: str = ""
    previous_revision: str = ""
    sync: SyncStatus = SyncStatus.UNKNOWN
    health: Health = Health.UNKNOWN
    health_message: str = ""
    operation: Operation | None = None
    resources: tuple[ResourceReport, ...] = ()
    conditions: tuple[ConditionReport, ...] = ()
    images: tuple[ImageReport, ...] = ()
    drift: tuple[DriftReport, ...] = ()  # newest first, at most 10
    problems: tuple[Problem, ...] = ()  # worst first, at most 10
    held: tuple[str, ...] = ()  # prunes that were held, one sentence each
    observed_at: datetime | None = None
    healthy_since: datetime | None = None
    applied_at: datetime | None = None
    replicas_ready: int = 0
    replicas_desired: int = 0
    extra: tuple[str, ...] = field(
        default_factory=tuple
    )  # what others added beside git, one line each


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationGone:
    app: str
