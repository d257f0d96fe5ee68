"""How an agent reconciles; the composition root fills this from the command line."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agent.core.report import ApplicationGone, ApplicationReport

ReportSink = Callable[[ApplicationReport | ApplicationGone], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileOptions:
    """Durations are in seconds."""

    namespaces: tuple[str, ...] = ("argocd",)  # where Applications are looked for
    home_namespace: str = "lockgate-system"  # the agent's own; no Application may use it
    poll_interval_s: float = 180.0
    workers: int = 4
    take_over: frozenset[str] = field(default_factory=frozenset)  # "namespace/name", or "*"
    cluster_name: str = "in-cluster"  # accepted as `destination.name` beside `in-cluster`


def utc_now() -> datetime:
    return datetime.now(UTC)
