"""What a look does about what it sees: nothing, a sync somebody asked for, an automatic one, or a repair.

Argo CD's rules decide (`core.autosync`); this module keeps the books around them: attempts, back-off, the operation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from agent.api.conditions import Condition
from agent.core.application import Application
from agent.core.autosync import (
    AUTO_RETRY,
    Attempt,
    AutoSyncFacts,
    NoSync,
    decide_auto_sync,
    retry_delay,
)
from agent.core.plan import Plan
from agent.errors import AgentError, ClusterUnavailableError
from agent.reconcile import drift, findings, memory
from agent.reconcile.compare import Kinds
from agent.reconcile.state import AppState, Desired, Registry
from agent.reconcile.sync import Syncer, SyncOutcome, SyncRequest

Scrub = Callable[[str], str]


class Seen(Protocol):
    """An Application against the cluster; `reconciler.View` is one."""

    @property
    def desired(self) -> Desired: ...
    @property
    def kinds(self) -> Kinds: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def changes(self) -> drift.Changes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    wrote: bool = False
    done: bool = False  # a requested operation has ended
    again_s: float | None = None
    conditions: tuple[Condition, ...] = ()


class Steps:
    """Decides and acts for one look."""

    def __init__(
        self,
        syncer: Syncer,
        registry: Registry,
        announce: Callable[[AppState, Application, Seen], None],
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._syncer = syncer
        self._registry = registry
        self._announce = announce
        self._now = now
        self._monotonic = monotonic

    def advance(
        self, state: AppState, app: Application, seen: Seen, scrub: Scrub, *, fresh: int
    ) -> Outcome:
        """Do what is due. `fresh` counts drift that was not known before this look."""
        if app.operation is not None:
            return self._requested(state, app, seen, scrub)
        if state.applied_at is None and seen.plan.in_sync:
            # Nothing is left to write: the change touched no object, or a process before us applied it and died
            # before it could say so.
            state.applied_at = self._now()
        decision = decide_auto_sync(self._facts(state, app, seen))
        retry_s = self._retry_after(state, app, seen)
        if isinstance(decision, NoSync):
            if retry_s is None:
                conditions = [_sync_error(decision.error)] if decision.error else []
                return Outcome(conditions=tuple(conditions))
            if retry_s > 0:
                return Outcome(again_s=retry_s, conditions=(_sync_error(decision.error),))
        elif seen.changes and decision.self_heal:
            wait_s = self._heal_after(state, seen, fresh)
            if wait_s > 0:
                return Outcome(again_s=wait_s)
        if seen.plan.is_noop:
            return Outcome()
        return self._sync(state, app, seen, scrub)

    # -- deciding --------------------------------------------------------------------------------

    def _facts(self, state: AppState, app: Application, seen: Seen) -> AutoSyncFacts:
        return AutoSyncFacts(
            automated=app.sync_policy.automated,
            sync=findings.sync_status(seen.plan),
            revision=seen.desired.revision,
            spec_digest=app.spec_digest,
            only_prunes_left=seen.plan.only_prunes_left,
            would_prune_all=findings.would_prune_all(seen.plan),
            deleting=app.deleting,
            last=state.attempt,
        )

    def _retry_after(self, state: AppState, app: Application, seen: Seen) -> float | None:
        """Return when a failed sync of this revision is due again; None when it is not, or never."""
        last = state.attempt
        current = (seen.desired.revision, app.spec_digest)
        if app.sync_policy.automated is None or last is None or last.succeeded:
            return None
        if (last.revision, last.spec_digest) != current or state.retry_at == 0.0:
            return None
        return max(0.0, state.retry_at - self._monotonic())

    def _heal_after(self, state: AppState, seen: Seen, fresh: int) -> float:
        if fresh:
            state.heal_at = self._monotonic() + drift.delay_heal(state, seen.changes, self._now())
        return max(0.0, state.heal_at - self._monotonic())

    # -- acting ----------------------------------------------------------------------------------

    def _requested(self, state: AppState, app: Application, seen: Seen, scrub: Scrub) -> Outcome:
        request = app.operation
        if request is None or request.dry_run:
            memory.begin(state, seen.desired.revision, self._now(), automated=False)
            memory.end(state, "Succeeded", _describe_plan(seen.plan), self._now())
            return Outcome(done=True)
        wait_s = state.retry_at - self._monotonic()
        if state.retrying == request and wait_s > 0:
            return Outcome(again_s=wait_s, conditions=_standing_failure(state))
        if state.retrying != request:
            state.attempt, state.attempts = None, 0
        outcome = self._sync(state, app, seen, scrub)
        state.retrying = None if outcome.done else request
        if outcome.done and request.revision:
            # What was asked for is applied; from now on the tracked revision is compared again.
            state.fetch = True
            return replace(outcome, again_s=0.1)
        return outcome

    def _sync(self, state: AppState, app: Application, seen: Seen, scrub: Scrub) -> Outcome:
        automated = app.operation is None or app.operation.automated
        healing = drift.describe(seen.changes, scrub)
        memory.begin(state, seen.desired.revision, self._now(), automated=automated)
        self._announce(state, app, seen)
        request = SyncRequest(
            app=state,
            plan=seen.plan,
            desired=seen.desired.objects,
            kinds=seen.kinds,
            namespace_to_create=self._namespace_to_create(app, seen),
        )
        try:
            result = self._syncer.run(request, scrub)
        except AgentError as error:
            result = SyncOutcome(errors=[error])
        message = _message(result, healing, scrub)
        return self._conclude(state, app, seen.desired.revision, result, message)

    def _conclude(
        self,
        state: AppState,
        app: Application,
        revision: str,
        result: SyncOutcome,
        message: str,
    ) -> Outcome:
        now = self._now()
        state.results = tuple(result.results)
        memory.end(state, "Succeeded" if result.succeeded else "Failed", message, now)
        attempt = Attempt(
            revision=revision,
            spec_digest=app.spec_digest,
            succeeded=result.succeeded,
            message=message,
        )
        if result.succeeded:
            state.attempt, state.attempts, state.retry_at = attempt, 0, 0.0
            partial = app.operation is not None and app.operation.resources is not None
            if not partial:
                memory.remember_sync(
                    state, app, app.operation.initiated_by if app.operation else ""
                )
            return Outcome(wrote=True, done=True)
        again_s = self._schedule_retry(state, app, attempt, result)
        # A requested sync with a retry of its own stays until its attempts are used up.
        own_retry = app.operation is not None and app.operation.retry is not None
        waits = own_retry and again_s is not None
        if waits:
            memory.wait_for_retry(state)
        return Outcome(
            wrote=True, done=not waits, again_s=again_s, conditions=(_sync_error(message),)
        )

    def _schedule_retry(
        self, state: AppState, app: Application, attempt: Attempt, result: SyncOutcome
    ) -> float | None:
        """Plan the next attempt: a server that was away does not use attempts up."""
        last = state.attempt
        same = last is not None and (last.revision, last.spec_digest) == (
            attempt.revision,
            attempt.spec_digest,
        )
        away = any(isinstance(error, ClusterUnavailableError) for error in result.errors)
        if not same:
            state.attempts = 0
        state.attempts += 0 if away and state.attempts else 1
        state.attempt = attempt
        asked = app.operation.retry if app.operation else None
        delay = retry_delay(asked or app.sync_policy.retry or AUTO_RETRY, state.attempts)
        if delay is None:
            state.retry_at = 0.0
            return None
        state.retry_at = self._monotonic() + delay.total_seconds()
        return delay.total_seconds()

    def _namespace_to_create(self, app: Application, seen: Seen) -> str:
        """Return the destination's namespace unless something lives in it, so that it must exist."""
        name = app.destination_namespace
        if not app.sync_policy.create_namespace or not name:
            return ""
        for item in seen.desired.objects:
            live = self._registry.find_object(item.key)
            if item.key.namespace == name and live is not None and live.uid:
                return ""
        return name


def _standing_failure(state: AppState) -> tuple[Condition, ...]:
    return (_sync_error(state.attempt.message),) if state.attempt is not None else ()


def _sync_error(message: str) -> Condition:
    return Condition(type="SyncError", message=message)


def _message(result: SyncOutcome, healing: list[str], scrub: Scrub) -> str:
    if result.errors:
        told = [
            f"{error.message} ({error.hint})" if error.hint else error.message
            for error in result.errors
        ]
        more = f" (and {len(told) - 3} more)" if len(told) > 3 else ""
        return scrub("; ".join(told[:3]) + more)
    lines = [f"healed: {line}" for line in healing] + result.notes
    return scrub("; ".join(lines)) or "successfully synced"


def _describe_plan(plan: Plan) -> str:
    count = sum(action.writes for action in plan.actions)
    return f"dry run: {count} of {len(plan.actions)} objects would be written"
