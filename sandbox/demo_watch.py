"""A watch on one Deployment that notes when what became true: the demo's stop-watch.

Measured where a user would see it, at the API server, and by the events themselves: polling would miss a drift that is
healed within milliseconds.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.controlplane.plane import ControlPlane
from sandbox.demo_screen import NotYet

Test = Callable[["Sighting"], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The Deployment as one event showed it; `at` is seconds since the epoch."""

    at: float
    image: str
    replicas: int
    rolled_out: bool


class DeploymentWatch:
    """Watches until closed; `sightings` grow."""

    def __init__(self, plane: ControlPlane, namespace: str, name: str) -> None:
        self.sightings: list[Sighting] = []
        path = (
            f"/apis/apps/v1/namespaces/{namespace}/deployments?fieldSelector=metadata.name={name}"
        )
        self._events = plane.watch(f"{path}&watch=1")
        self._thread = threading.Thread(target=self._note, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._events.close()
        self._thread.join(5)

    def first(self, what: str, test: Test, since: float) -> Sighting:
        """Return the first sighting after `since` that passes; raise NotYet with the last one."""
        for sighting in list(self.sightings):
            if sighting.at >= since and test(sighting):
                return sighting
        last = self.sightings[-1] if self.sightings else "nothing"
        raise NotYet(f"no {what}; last: {last}")

    def _note(self) -> None:
        for event in self._events:
            if event["type"] in {"ADDED", "MODIFIED"}:
                self.sightings.append(sight(event["object"]))


def sight(deployment: dict[str, Any]) -> Sighting:
    spec, status = deployment["spec"], deployment.get("status", {})
    wanted = spec.get("replicas", 1)
    counts = [status.get(k, 0) for k in ("replicas", "updatedReplicas", "availableReplicas")]
    current = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    return Sighting(
        at=time.time(),
        image=spec["template"]["spec"]["containers"][0]["image"],
        replicas=wanted,
        rolled_out=current and counts == [wanted] * 3,
    )
