"""The `conditions` list of an Application: one entry a type, and a transition time that means something."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.core.report import ConditionReport
from agent.core.status import timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What stands now. Types are Argo CD's: InvalidSpecError, ComparisonError, SyncError and so on."""

    type: str
    message: str


def update_conditions(
    previous: Sequence[Mapping[str, Any]], current: Iterable[Condition], now: datetime
) -> list[dict[str, Any]]:
    """Return the new list: what stands, in a stable order; an unchanged entry keeps its time.

    Several messages of one type are joined: Argo CD's tools show one condition a type.
    """
    messages: dict[str, list[str]] = {}
    for condition in current:
        known = messages.setdefault(condition.type, [])
        if condition.message not in known:
            known.append(condition.message)
    before = {str(entry.get("type")): entry for entry in previous}
    return [_entry(kind, "; ".join(messages[kind]), before, now) for kind in sorted(messages)]


def report_conditions(entries: Sequence[Mapping[str, Any]]) -> tuple[ConditionReport, ...]:
    """Return the list as the hub is told of it."""
    return tuple(
        ConditionReport(
            type=str(entry.get("type")),
            message=str(entry.get("message")),
            last_transition=parse_time(entry.get("lastTransitionTime")),
        )
        for entry in entries
    )


def parse_time(text: object) -> datetime | None:
    """Return an instant written in RFC 3339; None where it is absent or something else."""
    if not isinstance(text, str):
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _entry(
    kind: str, message: str, before: Mapping[str, Mapping[str, Any]], now: datetime
) -> dict[str, Any]:
    old = before.get(kind, {})
    is_same = old.get("message") == message and old.get("lastTransitionTime")
    changed_at = old["lastTransitionTime"] if is_same else timestamp(now)
    return {"type": kind, "message": message, "lastTransitionTime": changed_at}
