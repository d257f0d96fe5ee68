"""The registry: which kind is judged by which module."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from agent.core.health import daemonset, deployment, job, pod, pvc, replicaset, service, statefulset
from agent.core.health.result import HealthResult, mapping, progressing
from agent.core.objects import Manifest, group_of

_CHECKS: Mapping[tuple[str, str], Callable[[Manifest], HealthResult]] = MappingProxyType(
    {
        ("apps", "Deployment"): deployment.assess,
        ("apps", "ReplicaSet"): replicaset.assess,
        ("apps", "StatefulSet"): statefulset.assess,
        ("apps", "DaemonSet"): daemonset.assess,
        ("", "Pod"): pod.assess,
        ("", "Service"): service.assess,
        ("", "PersistentVolumeClaim"): pvc.assess,
        ("batch", "Job"): job.assess,
    }
)


def assess(manifest: Manifest) -> HealthResult | None:
    """Return the health of a live object; None for kinds that have none, which then do not count."""
    if mapping(manifest, "metadata").get("deletionTimestamp"):
        return progressing("Pending deletion")
    group = group_of(str(manifest.get("apiVersion", "")))
    check = _CHECKS.get((group, str(manifest.get("kind", ""))))
    return check(manifest) if check else None


def is_workload(group: str, kind: str) -> bool:
    """Tell whether pods stand behind the kind, so that they are worth listing when it is unhealthy (D13)."""
    return (group, kind) in {
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("batch", "Job"),
        ("", "Pod"),
    }
