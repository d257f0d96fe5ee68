"""Job: judged by its conditions. A `Suspended=False` condition alone reads as Healthy, as Argo CD's."""

from agent.core.health.result import (
    HealthResult,
    condition,
    degraded,
    healthy,
    mapping,
    progressing,
    suspended,
)
from agent.core.objects import Manifest


def assess(manifest: Manifest) -> HealthResult:
    status = mapping(manifest, "status")
    failed, complete = condition(status, "Failed"), condition(status, "Complete")
    pause = condition(status, "Suspended")
    if failed.get("status") == "True":
        return degraded(str(failed.get("message") or "Job failed"))
    if pause.get("status") == "True":
        return suspended(str(pause.get("message") or "Job is suspended"))
    if failed or complete or pause:
        return healthy(str(complete.get("message") or ""))
    return progressing("Waiting for the Job to complete")
