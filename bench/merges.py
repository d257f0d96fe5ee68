"""Where one merge spent its time: read off the parts' own logs and the API server's audit log.

One machine, one clock: instants of different processes can be subtracted. Nothing is read while a merge is under way but
the end of the audit log.
"""

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench.fleet import AGENT, land
from sandbox.demo_steps import IMAGE
from sandbox.settings import PROJECT
from sandbox.stack import Stack

FILE = "dev/deployment.yaml"
MAIN = "refs/heads/main"
DEADLINE_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Instants of one merge, in seconds since the epoch."""

    received: float  # the push's delivery reached the hub's handler
    hinted: float
    woken: float  # the agent took the hint
    begun: float  # a worker looked at the Application
    fetched: float  # git had answered; what is before this since `begun` is git's network
    loaded: float  # tree and blobs read, rendered
    applied: float  # the API server had answered the apply

    @property
    def total_s(self) -> float:
        return self.applied - self.received

    @property
    def outside_s(self) -> float:
        """All but the time the agent waited for git's network."""
        return self.total_s - (self.fetched - self.begun)


STAGES = (
    ("webhook received → hint sent", "received", "hinted"),
    ("hint sent → agent woken", "hinted", "woken"),
    ("agent woken → fetch begun", "woken", "begun"),
    ("git fetch", "begun", "fetched"),
    ("tree, blobs, render", "fetched", "loaded"),
    ("plan, apply acknowledged", "loaded", "applied"),
)


def merge_once(stack: Stack, tag: str) -> Merge:
    """Land one image tag through a merge request and read off when what happened."""
    mark, begun = _audit_size(stack), time.time()
    landed = land_tag(stack, tag)
    applied = await_apply(stack, mark)
    synced_at, synced = _find(stack, "agent", "application synced", begun, revision=landed)
    hinted, _ = _find(stack, "hub", "push arrived", begun, ref=MAIN)
    # The hub's loop does nothing between these two lines, so the next answer is this delivery's.
    answered, answer = _find(stack, "hub", "delivery answered", hinted)
    woken, _ = _find(stack, "agent", "hint taken", begun, ref=MAIN)
    looked = synced_at - _seconds(synced, "total_ms")
    return Merge(
        received=answered - _seconds(answer, "took_ms"),
        hinted=hinted,
        woken=woken,
        begun=looked,
        fetched=looked + _seconds(synced, "fetch_ms"),
        loaded=looked + _seconds(synced, "load_ms"),
        applied=applied,
    )


def poll_once(stack: Stack, tag: str) -> float:
    """Land one tag where nobody hints; return the seconds from the forge's answer to the acknowledged apply."""
    mark = _audit_size(stack)
    land_tag(stack, tag)
    landed = time.time()
    return await_apply(stack, mark) - landed


def land_tag(stack: Stack, tag: str) -> str:
    project = stack.client("senior").projects.get(PROJECT)
    text = project.files.get(FILE, "main").decode().decode()
    old = next(line for line in text.splitlines() if "image:" in line)
    return land(stack, FILE, text.replace(old, f"        image: {IMAGE}:{tag}"))


def await_apply(stack: Stack, mark: int) -> float:
    """Return when the API server had answered the agent's first apply of the Deployment after `mark`."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with stack.plane.layout.audit_log.open("rb") as log:
            log.seek(mark)
            found = [_applied_at(line) for line in log if line.endswith(b"\n")]
        for at in found:
            if at is not None:
                return at
        time.sleep(0.05)
    raise RuntimeError(f"the change was not applied in {DEADLINE_S} s")


def _applied_at(line: bytes) -> float | None:
    event = json.loads(line)
    target = event.get("objectRef") or {}
    what = (event["stage"], event["verb"], event["user"]["username"])
    is_ours = what == ("ResponseComplete", "patch", AGENT)
    if not is_ours or (target.get("resource"), target.get("name")) != ("deployments", "myapp"):
        return None
    return _instant(event["stageTimestamp"])


def _audit_size(stack: Stack) -> int:
    return stack.plane.layout.audit_log.stat().st_size


def _find(
    stack: Stack, part: str, event: str, since: float, **fields: str
) -> tuple[float, dict[str, Any]]:
    """Return the first log line of that event since an instant."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for line in stack.log(part).read_text(errors="replace").splitlines():
            if event not in line or not (line.startswith("{") and line.endswith("}")):
                continue
            entry = json.loads(line)
            at = _instant(entry["timestamp"])
            if at >= since and all(entry.get(key) == value for key, value in fields.items()):
                return at, entry
        time.sleep(0.05)
    raise RuntimeError(f"{part} did not log {event!r}")


def _seconds(entry: dict[str, Any], field: str) -> float:
    return float(entry[field]) / 1000


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
