"""Forge writes that are owed. A row goes once the forge has taken it, and only if it still says the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from ci_bot.store.schema import outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One write. `key` is what it says something about: `comment:7`, `status:<sha>:<name>`."""

    key: str
    body: Mapping[str, Any]
    version: int = 0
    attempts: int = 0


def put(connection: sa.Connection, project: str, owed: Owed, due_at: float) -> None:
    """Owe a write, in place of an older one of the same key; a new text is tried at once again."""
    values = {
        "project": project,
        "key": owed.key,
        "body": dict(owed.body),
        "version": 1,
        "due_at": due_at,
        "attempts": 0,
        "last_error": "",
        "quarantined": False,
    }
    statement = insert(outbox).values(values)
    changed = {**values, "version": outbox.c.version + 1}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["project", "key"], set_=changed)
    )


def list_due(connection: sa.Connection, project: str, now_s: float) -> list[Owed]:
    """Return what is due now, the longest owed first."""
    chosen = sa.select(outbox).where(
        outbox.c.project == project,
        outbox.c.due_at <= now_s,
        outbox.c.quarantined.is_(False),
    )
    return [
        Owed(key=row.key, body=row.body, version=row.version, attempts=row.attempts)
        for row in connection.execute(chosen.order_by(outbox.c.due_at, outbox.c.key))
    ]


def find_next_due(connection: sa.Connection, project: str) -> float | None:
    """Return when the next write is due, or None where nothing is owed."""
    chosen = sa.select(sa.func.min(outbox.c.due_at)).where(
        outbox.c.project == project, outbox.c.quarantined.is_(False)
    )
    return connection.execute(chosen).scalar()


def count_owed(connection: sa.Connection) -> dict[bool, int]:
    """Return how many writes are owed (False) and quarantined (True)."""
    chosen = sa.select(outbox.c.quarantined, sa.func.count()).group_by(outbox.c.quarantined)
    return {bool(row[0]): int(row[1]) for row in connection.execute(chosen)}


def settle(connection: sa.Connection, project: str, owed: Owed) -> None:
    """Forget a write that was made, unless the row says something newer meanwhile."""
    connection.execute(
        sa.delete(outbox).where(
            outbox.c.project == project,
            outbox.c.key == owed.key,
            outbox.c.version == owed.version,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What became of an attempt that failed."""

    error: str
    due_at: float
    counted: bool = True  # held against the write itself, not the forge's own trouble
    quarantined: bool = False


def postpone(connection: sa.Connection, project: str, owed: Owed, failure: Failure) -> None:
    """Keep a write that failed, for later or for a person to look at."""
    connection.execute(
        sa.update(outbox)
        .where(
            outbox.c.project == project,
            outbox.c.key == owed.key,
            outbox.c.version == owed.version,
        )
        .values(
            attempts=owed.attempts + failure.counted,
            last_error=failure.error[:256],
            due_at=failure.due_at,
            quarantined=failure.quarantined,
        )
    )
