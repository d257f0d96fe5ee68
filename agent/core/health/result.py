"""What the health checks share: the result, and reading numbers and conditions out of a status."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.core.objects import Manifest
from agent.core.states import Health


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthResult:
    health: Health
    message: str = ""


def healthy(message: str = "") -> HealthResult:
    return HealthResult(health=Health.HEALTHY, message=message)


def progressing(message: str) -> HealthResult:
    return HealthResult(health=Health.PROGRESSING, message=message)


def degraded(message: str) -> HealthResult:
    return HealthResult(health=Health.DEGRADED, message=message)


def suspended(message: str) -> HealthResult:
    return HealthResult(health=Health.SUSPENDED, message=message)


def unknown(message: str = "") -> HealthResult:
    return HealthResult(health=Health.UNKNOWN, message=message)


def mapping(parent: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """Return a child mapping; empty where it is absent or something else."""
    found = parent.get(field)
    return found if isinstance(found, dict) else {}


def number(parent: Mapping[str, Any], field: str, default: int = 0) -> int:
    """Return a count; the default where it is absent or not a whole number."""
    found = parent.get(field)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def items(parent: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    found = parent.get(field)
    if not isinstance(found, list):
        return []
    return [item for item in found if isinstance(item, dict)]


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a condition by type; empty where it is not there."""
    return next((c for c in items(status, "conditions") if c.get("type") == kind), {})


def is_observed(manifest: Manifest) -> bool:
    """Tell whether the controller has seen the newest spec."""
    generation = number(mapping(manifest, "metadata"), "generation")
    return generation <= number(mapping(manifest, "status"), "observedGeneration")


WAITING_FOR_CONTROLLER = (
    "Waiting for rollout to finish: the controller has not seen the newest spec yet"
)
