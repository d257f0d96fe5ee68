"""The merge requests we speak on: what we read last, what we said last, and what happened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from ci_bot.store.schema import authors, merge_requests, polls, transitions

HISTORY_KEPT = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A merge request as it was read last; `said` is the edit key of our comment, empty before the first."""

    number: int
    facts: Mapping[str, Any]
    state: str
    target_branch: str
    landed_sha: str = ""
    merged_at: float | None = None
    changed_paths: Sequence[str] = ()
    said: str = ""
    settled: bool = False


def save_tracked(connection: sa.Connection, project: str, tracked: Tracked) -> None:
    """Record what was read; `said` and `settled` of a known one stay (`mark_said`)."""
    values = {
        "project": project,
        "number": tracked.number,
        "facts": dict(tracked.facts),
        "state": tracked.state,
        "target_branch": tracked.target_branch,
        "landed_sha": tracked.landed_sha,
        "merged_at": tracked.merged_at,
        "changed_paths": list(tracked.changed_paths),
    }
    statement = insert(merge_requests).values(**values, said=tracked.said, settled=tracked.settled)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["project", "number"], set_=values)
    )


def mark_said(
    connection: sa.Connection, project: str, number: int, said: str, *, settled: bool
) -> None:
    """Record what our comment says now, and whether more is to come."""
    connection.execute(
        sa.update(merge_requests)
        .where(merge_requests.c.project == project, merge_requests.c.number == number)
        .values(said=said, settled=settled)
    )


def find_tracked(connection: sa.Connection, project: str, number: int) -> Tracked | None:
    row = connection.execute(
        sa.select(merge_requests).where(
            merge_requests.c.project == project, merge_requests.c.number == number
        )
    ).first()
    return None if row is None else _tracked(row)


def list_merged(connection: sa.Connection, project: str) -> list[Tracked]:
    """Return what has landed, in the order of landing."""
    chosen = sa.select(merge_requests).where(
        merge_requests.c.project == project, merge_requests.c.landed_sha != ""
    )
    ordered = chosen.order_by(merge_requests.c.merged_at, merge_requests.c.number)
    return [_tracked(row) for row in connection.execute(ordered)]


def list_open(connection: sa.Connection, project: str) -> list[Tracked]:
    """Return the merge requests that were open when last read."""
    chosen = sa.select(merge_requests).where(
        merge_requests.c.project == project, merge_requests.c.state == "open"
    )
    ordered = chosen.order_by(merge_requests.c.number)
    return [_tracked(row) for row in connection.execute(ordered)]


def _tracked(row: Any) -> Tracked:
    return Tracked(
        number=row.number,
        facts=row.facts,
        state=row.state,
        target_branch=row.target_branch,
        landed_sha=row.landed_sha,
        merged_at=row.merged_at,
        changed_paths=tuple(row.changed_paths),
        said=row.said,
        settled=row.settled,
    )


def add_transition(
    connection: sa.Connection, project: str, number: int, at: float, text: str
) -> None:
    connection.execute(
        sa.insert(transitions).values(project=project, number=number, at=at, text=text)
    )


def list_transitions(
    connection: sa.Connection, project: str, number: int
) -> list[tuple[float, str]]:
    """Return the last transitions of a merge request, oldest first."""
    chosen = sa.select(transitions.c.at, transitions.c.text).where(
        transitions.c.project == project, transitions.c.number == number
    )
    newest = chosen.order_by(transitions.c.id.desc()).limit(HISTORY_KEPT)
    return [(row.at, row.text) for row in reversed(connection.execute(newest).all())]


def add_author(connection: sa.Connection, project: str, user_id: str) -> None:
    """Remember an id under which we write."""
    statement = insert(authors).values(project=project, user_id=user_id)
    connection.execute(statement.on_conflict_do_nothing())


def list_authors(connection: sa.Connection, project: str) -> tuple[str, ...]:
    chosen = sa.select(authors.c.user_id).where(authors.c.project == project)
    return tuple(connection.execute(chosen.order_by(authors.c.user_id)).scalars())


def find_polled_at(connection: sa.Connection, project: str) -> float | None:
    chosen = sa.select(polls.c.polled_at).where(polls.c.project == project)
    return connection.execute(chosen).scalar()


def save_polled_at(connection: sa.Connection, project: str, at: float) -> None:
    statement = insert(polls).values(project=project, polled_at=at)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["project"], set_={"polled_at": at})
    )
