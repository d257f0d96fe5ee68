"""Webhook deliveries between receipt and work."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from ci_bot.store.schema import deliveries

KEEP_S = 14 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivery of one project; `id` is ours, 0 before it is stored."""

    id: int = 0
    project: str
    delivery: str
    kind: str
    ref: str = ""
    sha: str = ""
    number: int = 0


def save_delivery(connection: sa.Connection, delivery: Delivery, now_s: float) -> int:
    """Store a delivery; return its row, or 0 where it was stored before."""
    values = {
        "project": delivery.project,
        "delivery": delivery.delivery,
        "kind": delivery.kind,
        "ref": delivery.ref,
        "sha": delivery.sha,
        "number": delivery.number,
        "received_at": now_s,
    }
    statement = insert(deliveries).values(values).on_conflict_do_nothing()
    row = connection.execute(statement.returning(deliveries.c.id)).first()
    return 0 if row is None else int(row.id)


def list_undone(connection: sa.Connection, project: str) -> list[Delivery]:
    """Return what was received and not worked on, oldest first."""
    chosen = sa.select(deliveries).where(
        deliveries.c.project == project, deliveries.c.done_at.is_(None)
    )
    return [
        Delivery(
            id=row.id,
            project=row.project,
            delivery=row.delivery,
            kind=row.kind,
            ref=row.ref,
            sha=row.sha,
            number=row.number,
        )
        for row in connection.execute(chosen.order_by(deliveries.c.id))
    ]


def finish_delivery(connection: sa.Connection, row: int, now_s: float) -> None:
    """Mark a delivery as worked on, and forget the ones too old to be repeated."""
    connection.execute(sa.update(deliveries).where(deliveries.c.id == row).values(done_at=now_s))
    connection.execute(sa.delete(deliveries).where(deliveries.c.done_at < now_s - KEEP_S))
