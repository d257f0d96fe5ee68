"""Service: a load balancer without an address is still on its way; every other Service just is."""

from agent.core.health.result import HealthResult, healthy, items, mapping, progressing
from agent.core.objects import Manifest


def assess(manifest: Manifest) -> HealthResult:
    if mapping(manifest, "spec").get("type") != "LoadBalancer":
        return healthy()
    balancer = mapping(mapping(manifest, "status"), "loadBalancer")
    if items(balancer, "ingress"):
        return healthy()
    return progressing("Waiting for the load balancer's address")
