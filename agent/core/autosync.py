"""When the agent syncs on its own: Argo CD's rule, and our back-off where two managers fight over a field.

One attempt per revision and spec. If it failed, the SyncError stands until either changes. If it succeeded and the
cluster is out of sync again, only self-heal acts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.core.application import Automated, Retry
from agent.core.states import SyncStatus

CONTESTED_AFTER = 3
CONTESTED_WINDOW = timedelta(minutes=10)
HEAL_BASE = timedelta(seconds=2)
HEAL_FACTOR = 3
HEAL_CAP = timedelta(seconds=300)
HEAL_COOLDOWN = timedelta(seconds=330)
# An automated operation without a retry block of its own, as Argo CD's.
AUTO_RETRY = Retry(limit=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The last sync that ended, whoever asked for it."""

    revision: str
    spec_digest: str
    succeeded: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoSyncFacts:
    automated: Automated | None
    sync: SyncStatus
    revision: str
    spec_digest: str
    only_prunes_left: bool = False
    would_prune_all: bool = False
    has_operation: bool = False
    deleting: bool = False
    has_errors: bool = False  # a ComparisonError or InvalidSpecError stands
    last: Attempt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSync:
    prune: bool
    self_heal: bool  # True: only the objects that are not Synced


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSync:
    """`error` is the SyncError condition's message; empty where there is simply nothing to do."""

    why: str
    error: str = ""


def decide_auto_sync(  # noqa: PLR0911 - one answer a rule of the contract
    facts: AutoSyncFacts,
) -> StartSync | NoSync:
    if facts.automated is None:
        return NoSync(why="auto-sync is off")
    if why := _blocked(facts):
        return NoSync(why=why)
    automated, last = facts.automated, facts.last
    if facts.only_prunes_left and not automated.prune:
        return NoSync(why="only prunes are left and pruning is off")
    if facts.would_prune_all and automated.prune and not automated.allow_empty:
        message = (
            "auto-sync would prune every object and allowEmpty is off; "
            "set syncPolicy.automated.allowEmpty if that is meant"
        )
        return NoSync(why="every object would be pruned", error=message)
    if last is None or (last.revision, last.spec_digest) != (facts.revision, facts.spec_digest):
        return StartSync(prune=automated.prune, self_heal=False)
    if not last.succeeded:
        message = f"failed last sync attempt to {facts.revision[:12]}: {last.message}".rstrip(": ")
        return NoSync(why="the last attempt at this revision failed", error=message)
    if not automated.self_heal:
        return NoSync(why="this revision was synced and self-heal is off")
    return StartSync(prune=automated.prune, self_heal=True)


def _blocked(facts: AutoSyncFacts) -> str:
    if facts.has_operation:
        return "an operation is in progress"
    if facts.deleting:
        return "the Application is being deleted"
    if facts.has_errors:
        return "an error condition stands"
    if facts.sync is not SyncStatus.OUT_OF_SYNC:
        return f"sync status is {facts.sync}"
    return ""


def retry_delay(retry: Retry, attempts_made: int) -> timedelta | None:
    """Return how long to wait before the next attempt of one operation; None when none is left."""
    if 0 <= retry.limit < attempts_made:
        return None
    factor: int = max(1, retry.factor) ** min(attempts_made - 1, 16)
    try:
        return min(retry.duration * factor, retry.max_duration)
    except OverflowError:
        return retry.max_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One owned field lost to somebody at one time."""

    resource: str  # str(ObjectKey)
    field: str
    manager: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Healing:
    """When to heal a loss, and who is fighting us, if somebody is."""

    delay: timedelta
    contested: str = ""  # a sentence for the condition


def decide_heal(earlier: Sequence[Loss], loss: Loss) -> Healing:
    """Decide on one more loss given the earlier ones, in any order; heal at once unless it is a fight.

    The third loss of one field to one manager within ten minutes is a fight: a controller (an HPA and `replicas`)
    will win it each time, so we step back 2 s, 6 s, 18 s … and tell people what to do.
    """
    same = sorted(
        past.at
        for past in earlier
        if (past.resource, past.field, past.manager) == (loss.resource, loss.field, loss.manager)
        and loss.at - CONTESTED_WINDOW < past.at <= loss.at
    )
    if same and loss.at - same[-1] > HEAL_COOLDOWN:
        return Healing(delay=timedelta(0))
    count = len(same) + 1
    if count < CONTESTED_AFTER:
        return Healing(delay=timedelta(0))
    delay = min(HEAL_BASE * HEAL_FACTOR ** min(count - CONTESTED_AFTER, 8), HEAL_CAP)
    rival = loss.manager or "somebody managedFields does not name"
    sentence = (
        f"{loss.resource}: {loss.field} is contested: lockgate and {rival} have set it in turns "
        f"{count} times in {CONTESTED_WINDOW.seconds // 60} minutes; "
        "remove the field from git, or stop the other manager"
    )
    return Healing(delay=delay, contested=sentence)


def forget_losses(losses: Sequence[Loss], now: datetime) -> tuple[Loss, ...]:
    """Return the losses that can still make a fight, so that memory stays bounded."""
    return tuple(loss for loss in losses if loss.at > now - CONTESTED_WINDOW)
