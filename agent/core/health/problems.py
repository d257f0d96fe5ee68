"""Why a workload is unhealthy, out of its pods and their events.

The caller lists pods only where something is not Healthy, and hands in a scrubber: a container's message is foreign
text that may quote a Secret.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from agent.core.health.pod import containers
from agent.core.health.result import mapping
from agent.core.objects import Manifest
from agent.core.report import Problem

# Worst first. These make a rollout degraded for us before its deadline has passed (D11).
FAILING_REASONS = (
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "InvalidImageName",
    "ErrImagePull",
    "ImagePullBackOff",
)
_MAX_PROBLEMS = 10
_MAX_MESSAGE = 256
_QUIET_EVENTS = frozenset({"Normal"})


def find_problems(
    pods: Sequence[Manifest],
    events: Sequence[Manifest],
    scrub: Callable[[str], str],
) -> tuple[Problem, ...]:
    """Return at most ten problems, worst first, one a pod.

    `events` are core/v1 Events of the pods, in any order; the newest warning of a pod is its message, else what the
    container says itself.
    """
    newest = _newest_warnings(events)
    found: list[tuple[int, Problem]] = []
    for pod in pods:
        metadata = mapping(pod, "metadata")
        place = f"{metadata.get('namespace')}/{metadata.get('name')}"
        worst = min(_waiting(pod), default=None)
        if worst is not None and not metadata.get("deletionTimestamp"):
            rank, reason, own_message = worst
            message = scrub(newest.get(place) or own_message)[:_MAX_MESSAGE]
            problem = Problem(resource=f"Pod {place}", reason=reason, message=message)
            found.append((rank, problem))
    found.sort(key=lambda item: (item[0], item[1].resource))
    return tuple(problem for _, problem in found[:_MAX_PROBLEMS])


def _waiting(pod: Manifest) -> Iterator[tuple[int, str, str]]:
    for container in containers(mapping(pod, "status")):
        waiting = mapping(mapping(container, "state"), "waiting")
        reason = str(waiting.get("reason") or "")
        if reason in FAILING_REASONS:
            yield FAILING_REASONS.index(reason), reason, _message(container, waiting)


def _message(container: Mapping[str, Any], waiting: Mapping[str, Any]) -> str:
    if message := waiting.get("message"):
        return str(message)
    code = mapping(mapping(container, "lastState"), "terminated").get("exitCode")
    return f"last exit code {code}" if code is not None else ""


def _newest_warnings(events: Sequence[Manifest]) -> dict[str, str]:
    newest: dict[str, tuple[str, str]] = {}
    for event in events:
        involved = mapping(event, "involvedObject")
        if involved.get("kind") != "Pod" or event.get("type") in _QUIET_EVENTS:
            continue
        place = f"{involved.get('namespace')}/{involved.get('name')}"
        seen = (_event_time(event), str(event.get("message") or ""))
        newest[place] = max(newest.get(place, ("", "")), seen)
    return {place: message for place, (_, message) in newest.items()}


def _event_time(event: Manifest) -> str:
    metadata = mapping(event, "metadata")
    series = mapping(event, "series")
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        metadata.get("creationTimestamp"),
    )
    return next((str(time) for time in times if time), "")
