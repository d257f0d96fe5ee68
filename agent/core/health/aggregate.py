"""An Application is as healthy as the worst object that counts."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.core.health.result import HealthResult
from agent.core.objects import ObjectKey
from agent.core.states import Health

_IGNORE = "argocd.argoproj.io/ignore-healthcheck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """One desired object: `live` tells whether it exists, `health` is None for kinds without one."""

    key: ObjectKey
    live: bool
    health: HealthResult | None = None
    ignored: bool = False  # its annotation says that its health does not count


def is_ignored(annotations: dict[str, str]) -> bool:
    return annotations.get(_IGNORE) == "true"


def aggregate(objects: Sequence[Assessed]) -> HealthResult:
    """Return the worst health; the message names the objects that cause it.

    Missing objects do not count one by one; if objects are expected and none is live, the whole is Missing.
    """
    if objects and not any(item.live for item in objects):
        return HealthResult(health=Health.MISSING, message="None of the objects exists")
    counted = [
        (item.key, item.health)
        for item in objects
        if item.live and not item.ignored and item.health is not None and _counts(item)
    ]
    worst = max((result.health for _, result in counted), default=Health.HEALTHY, key=_rank)
    if worst is Health.HEALTHY:
        return HealthResult(health=Health.HEALTHY)
    causes = [_cause(key, result) for key, result in counted if result.health is worst]
    more = f" (and {len(causes) - 3} more)" if len(causes) > 3 else ""
    return HealthResult(health=worst, message="; ".join(causes[:3]) + more)


def _rank(health: Health) -> int:
    return health.rank


def _cause(key: ObjectKey, result: HealthResult) -> str:
    return f"{key}: {result.message}" if result.message else str(key)


def _counts(item: Assessed) -> bool:
    """Leave out child Applications of which nothing is known yet."""
    child = (item.key.group, item.key.kind) == ("argoproj.io", "Application")
    silent = item.health is not None and item.health.health in {Health.MISSING, Health.UNKNOWN}
    return not (child and silent)
