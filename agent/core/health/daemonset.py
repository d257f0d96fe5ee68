"""DaemonSet: pods of the newest template scheduled and available on every node that wants one."""

from agent.core.health.result import (
    WAITING_FOR_CONTROLLER,
    HealthResult,
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
    if mapping(mapping(manifest, "spec"), "updateStrategy").get("type") == "OnDelete":
        return healthy()
    desired = number(status, "desiredNumberScheduled")
    updated = number(status, "updatedNumberScheduled")
    available = number(status, "numberAvailable")
    if updated < desired:
        return progressing(
            f"Waiting for daemon set rollout to finish: {updated} out of {desired} new pods have been updated"
        )
    if available < desired:
        return progressing(
            f"Waiting for daemon set rollout to finish: {available} of {desired} updated pods are available"
        )
    return healthy()
