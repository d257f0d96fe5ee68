"""StatefulSet: pods not ready, a partitioned rollout, or a revision still being rolled out."""

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


def assess(manifest: Manifest) -> HealthResult:  # noqa: PLR0911 - one answer a rule
    spec, status = mapping(manifest, "spec"), mapping(manifest, "status")
    if number(status, "observedGeneration") == 0 or not is_observed(manifest):
        return progressing(WAITING_FOR_CONTROLLER)
    wanted, ready = number(spec, "replicas", 1), number(status, "readyReplicas")
    if ready < wanted:
        return progressing(f"Waiting for {wanted - ready} pods to be ready")
    strategy = mapping(spec, "updateStrategy")
    if strategy.get("type") == "OnDelete":
        return healthy(f"statefulset has {ready} ready pods")
    updated = number(status, "updatedReplicas")
    if strategy.get("type", "RollingUpdate") == "RollingUpdate" and "rollingUpdate" in strategy:
        partition = number(mapping(strategy, "rollingUpdate"), "partition")
        if partition and updated < wanted - partition:
            return progressing(
                "Waiting for partitioned roll out to finish: "
                f"{updated} out of {wanted - partition} new pods have been updated"
            )
        if partition:
            return healthy(f"partitioned roll out complete: {updated} new pods have been updated")
    if status.get("updateRevision") != status.get("currentRevision"):
        return progressing(
            f"waiting for statefulset rolling update to complete: {updated} pods at revision "
            f"{status.get('updateRevision')}"
        )
    return healthy()
