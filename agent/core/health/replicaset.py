"""ReplicaSet: pods that cannot be made, or are not available yet."""

from agent.core.health.result import (
    WAITING_FOR_CONTROLLER,
    HealthResult,
    condition,
    degraded,
    healthy,
    is_observed,
    mapping,
    number,
    progressing,
)
from agent.core.objects import Manifest


def assess(manifest: Manifest) -> HealthResult:
    status = mapping(manifest, "status")
    if not is_observed(manifest):
        return progressing(WAITING_FOR_CONTROLLER)
    failure = condition(status, "ReplicaFailure")
    if failure.get("status") == "True":
        return degraded(str(failure.get("message") or ""))
    wanted = number(mapping(manifest, "spec"), "replicas", 1)
    available = number(status, "availableReplicas")
    if available < wanted:
        return progressing(
            f"Waiting for rollout to finish: {available} out of {wanted} replicas are available"
        )
    return healthy()
