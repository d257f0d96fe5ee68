"""One rollout: what a landed commit became in every cluster that is expected to run it.

Agents report the whole state of an Application, the latest one wins. `assess` says what one report means for one
landed commit, `fold` what all of them mean together. Success is said only once the change itself was applied and
settled; "Synced" alone is not it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ci_bot.core.facts import State

# Waiting reasons after which waiting longer does not help (decision 11).
STUCK = frozenset(
    {"CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError"}
)
BLOCKING_CONDITIONS = frozenset(
    {"ComparisonError", "InvalidSpecError", "SyncError", "UnknownError"}
)


class SyncStatus(StrEnum):
    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    UNKNOWN = "Unknown"


class Health(StrEnum):
    HEALTHY = "Healthy"
    SUSPENDED = "Suspended"
    PROGRESSING = "Progressing"
    MISSING = "Missing"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    phase: str  # Running | Terminating | Failed | Error | Succeeded
    message: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    kind: str
    namespace: str
    name: str
    sync: SyncStatus
    health: Health | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    type: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    image: str
    previous: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    resource: str
    field: str
    manager: str = ""  # empty when nobody can be named
    was: str = ""
    became: str = ""
    seen_at: datetime | None = None
    healed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    resource: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppState:
    """The last report of one Application in one cluster. All text in it is foreign."""

    cluster: str
    app: str  # namespace/name
    repo: str = ""
    path: str = ""
    target_revision: str = ""
    revision: str = ""
    change_revision: str = ""
    previous_revision: str = ""
    sync: SyncStatus = SyncStatus.UNKNOWN
    health: Health = Health.UNKNOWN
    health_message: str = ""
    operation: Operation | None = None
    resources: tuple[Resource, ...] = ()
    conditions: tuple[Condition, ...] = ()
    images: tuple[Image, ...] = ()
    drift: tuple[Drift, ...] = ()
    problems: tuple[Problem, ...] = ()
    held: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    observed_at: datetime | None = None
    healthy_since: datetime | None = None
    applied_at: datetime | None = None
    replicas_ready: int = 0
    replicas_desired: int = 0
    connected: bool = True  # does the agent's stream stand now


class OutcomeClass(StrEnum):
    """What a person wants to know, per cluster and Application."""

    WAITING = "waiting"
    ROLLING = "rolling"
    LIVE = "live"
    DEGRADED = "degraded"


DEPLOYMENT_STATES = {
    OutcomeClass.WAITING: State.RUNNING,
    OutcomeClass.ROLLING: State.RUNNING,
    OutcomeClass.LIVE: State.SUCCESS,
    OutcomeClass.DEGRADED: State.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A merged merge request: the commit it landed as, and the commits known to have landed after it."""

    sha: str
    merged_at: datetime | None = None
    newer: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one Application's report means for one landed commit."""

    state: AppState
    kind: OutcomeClass
    why: str = ""  # one sentence; may hold foreign text
    superseded: bool = False  # the Application has moved on to a newer change


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """All clusters together. `state` is what the roll-up deployment says."""

    landed: Landed
    outcomes: tuple[Outcome, ...]
    state: State
    first_live_at: datetime | None = (
        None  # where it was said before: a healed drift does not move it
    )

    def count(self, kind: OutcomeClass) -> int:
        """Return how many Applications are of this class."""
        return sum(1 for outcome in self.outcomes if outcome.kind is kind)

    @property
    def live_at(self) -> datetime | None:
        """When the last Application became healthy, once all are live; for the first time, where that is known."""
        if self.state is State.SUCCESS and self.first_live_at is not None:
            return self.first_live_at
        times = [outcome.state.healthy_since for outcome in self.outcomes]
        known = [at for at in times if at is not None]
        return max(known) if self.state is State.SUCCESS and len(known) == len(times) else None


def assess(state: AppState, landed: Landed) -> Outcome:
    """Say what `state` means for `landed`; a newer change that is live satisfies an older one."""
    superseded = state.change_revision in landed.newer
    if state.change_revision != landed.sha and not superseded:
        return _assess_not_there_yet(state)
    kind, why = _classify(state)
    return Outcome(state=state, kind=kind, why=why, superseded=superseded)


def _assess_not_there_yet(state: AppState) -> Outcome:
    blocking = _find_blocking(state)
    if blocking is not None:
        return Outcome(state=state, kind=OutcomeClass.DEGRADED, why=blocking)
    why = "" if state.connected else "its agent is not connected"
    return Outcome(state=state, kind=OutcomeClass.WAITING, why=why)


def _classify(state: AppState) -> tuple[OutcomeClass, str]:
    failed = _find_failure(state)
    if failed is not None:
        return OutcomeClass.DEGRADED, failed
    if state.applied_at is None:
        return _classify_unapplied(state)
    if state.health is Health.HEALTHY:
        return OutcomeClass.LIVE, ""
    return OutcomeClass.ROLLING, state.health_message


def _classify_unapplied(state: AppState) -> tuple[OutcomeClass, str]:
    running = state.operation is not None and state.operation.phase == "Running"
    if running or state.sync is SyncStatus.SYNCED:
        return OutcomeClass.ROLLING, ""
    return OutcomeClass.WAITING, "OutOfSync; this Application is synced by hand"


def _find_failure(state: AppState) -> str | None:
    """Return why this change does not work, or None while it may still come good."""
    operation = state.operation
    # A failed sync of an earlier revision says nothing of one that had nothing to apply: a revert, often.
    current = operation is not None and operation.revision in {"", state.revision}
    if operation is not None and current and operation.phase in {"Failed", "Error"}:
        return operation.message or "the sync failed"
    blocking = _find_blocking(state)
    if blocking is not None:
        return blocking
    stuck = next((problem for problem in state.problems if problem.reason in STUCK), None)
    if stuck is not None:
        return f"{stuck.resource}: {stuck.reason}"
    if state.health in {Health.DEGRADED, Health.MISSING}:
        return state.health_message or state.health
    return None


def _find_blocking(state: AppState) -> str | None:
    found = next((item for item in state.conditions if item.type in BLOCKING_CONDITIONS), None)
    return None if found is None else f"{found.type}: {found.message}"


def fold(states: Sequence[AppState], landed: Landed) -> Rollout:
    """Fold the last reports of every expected Application into one rollout of `landed`.

    An empty `states` means that no Application is mapped to what the merge request changed: `canceled`.
    """
    outcomes = tuple(
        assess(state, landed) for state in sorted(states, key=lambda s: (s.cluster, s.app))
    )
    kinds = {outcome.kind for outcome in outcomes}
    if not outcomes:
        state = State.CANCELED
    elif OutcomeClass.DEGRADED in kinds:
        state = State.FAILED
    elif kinds == {OutcomeClass.LIVE}:
        state = State.SUCCESS
    else:
        state = State.RUNNING
    return Rollout(landed=landed, outcomes=outcomes, state=state)
