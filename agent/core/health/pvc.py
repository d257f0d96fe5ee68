"""PersistentVolumeClaim: its phase."""

from agent.core.health.result import (
    HealthResult,
    degraded,
    healthy,
    mapping,
    progressing,
    unknown,
)
from agent.core.objects import Manifest


def assess(manifest: Manifest) -> HealthResult:
    match mapping(manifest, "status").get("phase"):
        case "Lost":
            return degraded("The volume of the claim is lost")
        case "Pending":
            return progressing("Waiting for a volume")
        case "Bound":
            return healthy()
        case _:
            return unknown()
