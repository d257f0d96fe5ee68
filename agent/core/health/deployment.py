"""Deployment: paused, not yet seen, past its deadline, or still replacing pods."""

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
    suspended,
)
from agent.core.objects import Manifest


def assess(manifest: Manifest) -> HealthResult:  # noqa: PLR0911 - one answer a rule
    spec, status = mapping(manifest, "spec"), mapping(manifest, "status")
    if spec.get("paused") is True:
        return suspended("Deployment is paused")
    if not is_observed(manifest):
        return progressing(WAITING_FOR_CONTROLLER)
    name = mapping(manifest, "metadata").get("name")
    if condition(status, "Progressing").get("reason") == "ProgressDeadlineExceeded":
        return degraded(f'Deployment "{name}" exceeded its progress deadline')
    wanted, replicas = number(spec, "replicas", 1), number(status, "replicas")
    updated, available = number(status, "updatedReplicas"), number(status, "availableReplicas")
    if updated < wanted:
        return progressing(
            f"Waiting for rollout to finish: {updated} out of {wanted} new replicas have been updated"
        )
    if replicas > updated:
        return progressing(
            f"Waiting for rollout to finish: {replicas - updated} old replicas are pending termination"
        )
    if available < updated:
        return progressing(
            f"Waiting for rollout to finish: {available} of {updated} updated replicas are available"
        )
    return healthy()
