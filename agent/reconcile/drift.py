"""Drift as people hear of it: who changed what, from what to what, and whether it was put right."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from agent.core.autosync import Loss, decide_heal, forget_losses
from agent.core.objects import ObjectKey
from agent.core.ownership import Change
from agent.core.report import DriftReport
from agent.reconcile.state import AppState, Registry

_MAX_REPORTS = 10

Changes = Mapping[ObjectKey, tuple[Change, ...]]


def find_changes(registry: Registry, keys: Iterable[ObjectKey]) -> Changes:
    """Return the owned fields that somebody changed since the last apply."""
    found: dict[ObjectKey, tuple[Change, ...]] = {}
    for key in keys:
        state = registry.find_object(key)
        if state is not None and state.changes:
            found[key] = state.changes
    return found


def note(state: AppState, changes: Changes, now: datetime, scrub: Callable[[str], str]) -> int:
    """Put what is new at the front of the report's list; returns how much was new."""
    standing = {(d.resource, d.field, d.became) for d in state.drifts if d.healed_at is None}
    fresh = [
        DriftReport(
            resource=str(key),
            field=change.path,
            manager=change.manager,
            was=scrub(change.was),
            became=scrub(change.became),
            seen_at=now,
        )
        for key, found in changes.items()
        for change in found
    ]
    fresh = [d for d in fresh if (d.resource, d.field, d.became) not in standing]
    state.drifts = (*fresh, *state.drifts)[:_MAX_REPORTS]
    return len(fresh)


def note_healed(state: AppState, changes: Changes, now: datetime) -> None:
    """Mark what stands no more, whoever put it right."""
    standing = {(str(key), change.path) for key, found in changes.items() for change in found}
    state.drifts = tuple(
        drift
        if drift.healed_at is not None or (drift.resource, drift.field) in standing
        else replace(drift, healed_at=now)
        for drift in state.drifts
    )


def delay_heal(state: AppState, changes: Changes, now: datetime) -> float:
    """Return how long to wait before healing: 0, unless two managers fight over a field."""
    losses = forget_losses(state.losses, now)
    longest, contested = 0.0, ""
    for key, found in changes.items():
        for change in found:
            loss = Loss(resource=str(key), field=change.path, manager=change.manager, at=now)
            healing = decide_heal(losses, loss)
            losses = (*losses, loss)
            longest = max(longest, healing.delay.total_seconds())
            contested = contested or healing.contested
    state.losses = losses
    state.contested = contested
    return longest


def settle(state: AppState, now: datetime) -> None:
    """Let a fight be over when nothing was lost for as long as a fight counts."""
    state.losses = forget_losses(state.losses, now)
    if not state.losses:
        state.contested = ""


def describe(changes: Changes, scrub: Callable[[str], str]) -> list[str]:
    """Return one sentence a change, for the condition and the operation's message."""
    return [
        scrub(f"{key}: {change.path}" + _values(change) + _by(change))
        for key, found in changes.items()
        for change in found
    ]


def _values(change: Change) -> str:
    if not change.was and not change.became:
        return " was changed"
    if not change.became:
        return f" was removed (git states {change.was})"
    return f" is {change.became}" + (f", git states {change.was}" if change.was else "")


def _by(change: Change) -> str:
    return f", changed by {change.manager}" if change.manager else ""
