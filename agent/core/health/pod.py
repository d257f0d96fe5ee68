"""Pod: judged by its phase, and by what its containers wait for or died of."""

from collections.abc import Iterator, Mapping
from typing import Any

from agent.core.health.result import (
    HealthResult,
    condition,
    degraded,
    healthy,
    items,
    mapping,
    progressing,
    unknown,
)
from agent.core.objects import Manifest


def assess(manifest: Manifest) -> HealthResult:
    spec, status = mapping(manifest, "spec"), mapping(manifest, "status")
    always = spec.get("restartPolicy", "Always") == "Always"
    if always and (message := _waiting_failure(status)) is not None:
        return degraded(message)
    match status.get("phase"):
        case "Pending":
            return progressing(str(status.get("message") or ""))
        case "Succeeded":
            return healthy(str(status.get("message") or ""))
        case "Failed":
            return degraded(_failure(status))
        case "Running":
            return _running(status, always=always)
        case _:
            return unknown(str(status.get("message") or ""))


def _running(status: Mapping[str, Any], *, always: bool) -> HealthResult:
    message = str(status.get("message") or "")
    if not always:
        return progressing(message)
    if condition(status, "Ready").get("status") == "True":
        return healthy(message)
    if any(mapping(container, "lastState").get("terminated") for container in containers(status)):
        return degraded(message)
    return progressing(message)


def _waiting_failure(status: Mapping[str, Any]) -> str | None:
    """Return the message of a container that waits because something failed."""
    for container in containers(status):
        waiting = mapping(mapping(container, "state"), "waiting")
        reason = str(waiting.get("reason") or "")
        if reason.startswith("Err") or reason.endswith(("Error", "BackOff")):
            return str(waiting.get("message") or reason)
    return None


def containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the status of every container, those of the init phase first."""
    for field in ("initContainerStatuses", "containerStatuses"):
        yield from items(status, field)


def _failure(status: Mapping[str, Any]) -> str:
    if message := status.get("message"):
        return str(message)
    for container in containers(status):
        terminated = mapping(mapping(container, "state"), "terminated")
        if text := _termination(container.get("name"), terminated):
            return text
    return ""


def _termination(name: object, terminated: Mapping[str, Any]) -> str:
    if message := terminated.get("message"):
        return str(message)
    if terminated.get("reason") == "OOMKilled":
        return "OOMKilled"
    code = terminated.get("exitCode")
    return f'container "{name}" failed with exit code {code}' if code else ""
