"""The latest report per agent and Application, and the agents they came from."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from ci_bot.store.schema import agents, reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    agent: str
    cluster: str
    cluster_uid: str = ""
    version: str = ""
    epoch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """`body` is the wire message without its number."""

    agent: str
    cluster: str
    app: str
    body: bytes


def save_agent(connection: sa.Connection, agent: Agent, now_s: float) -> None:
    """Record that an agent is there, with the epoch that now owns its name."""
    values = {
        "agent": agent.agent,
        "cluster": agent.cluster,
        "cluster_uid": agent.cluster_uid,
        "version": agent.version,
        "epoch": agent.epoch,
        "seen_at": now_s,
    }
    statement = insert(agents).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=["agent"], set_=values))


def touch_agent(connection: sa.Connection, agent: str, now_s: float) -> None:
    """Record that an agent gave a sign of life."""
    connection.execute(sa.update(agents).where(agents.c.agent == agent).values(seen_at=now_s))


def save_report(
    connection: sa.Connection, report: StoredReport, epoch: str, seq: int, now_s: float
) -> bool:
    """Keep a report unless a later one is there; False where it was the older one.

    Only the epoch that owns the agent's name counts: what a stream that was replaced still had on its way is late.
    """
    owner = sa.select(agents.c.epoch).where(agents.c.agent == report.agent)
    if connection.execute(owner).scalar() != epoch:
        return False
    values = {
        "agent": report.agent,
        "app": report.app,
        "epoch": epoch,
        "seq": seq,
        "body": report.body,
        "received_at": now_s,
    }
    statement = insert(reports).values(values)
    newer = sa.or_(reports.c.epoch != epoch, reports.c.seq < seq)
    done = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["agent", "app"], set_=values, where=newer
        ).returning(reports.c.app)
    ).first()
    return done is not None


def list_apps(connection: sa.Connection, agent: str, epoch: str) -> set[str]:
    """Return the Applications that this process of the agent reported last."""
    chosen = sa.select(reports.c.app).where(reports.c.agent == agent, reports.c.epoch == epoch)
    return set(connection.execute(chosen).scalars())


def delete_older_epochs(connection: sa.Connection, agent: str, epoch: str) -> list[str]:
    """Forget what only earlier processes of the agent reported; return the Applications' names."""
    chosen = sa.delete(reports).where(reports.c.agent == agent, reports.c.epoch != epoch)
    return sorted(connection.execute(chosen.returning(reports.c.app)).scalars())


def delete_report(connection: sa.Connection, agent: str, app: str) -> None:
    connection.execute(sa.delete(reports).where(reports.c.agent == agent, reports.c.app == app))


def list_reports(connection: sa.Connection, agent: str = "") -> list[StoredReport]:
    """Return the latest report of every Application, of one agent or of all."""
    chosen = sa.select(reports, agents.c.cluster).join(agents, agents.c.agent == reports.c.agent)
    if agent:
        chosen = chosen.where(reports.c.agent == agent)
    return [
        StoredReport(agent=row.agent, cluster=row.cluster, app=row.app, body=row.body)
        for row in connection.execute(chosen.order_by(agents.c.cluster, reports.c.app))
    ]
