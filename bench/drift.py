"""Drift → repaired: somebody changes a field of a managed object, and it is put back with one write and no read.

The edits are raw PATCH requests, replicas or image at random; times are the API server's own events of the object. The
peer is what a cron job without pauses does: `kubectl apply --server-side` in a loop, drift coming whenever it comes.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from bench.fleet import AGENT, fleet
from bench.table import Row, milliseconds, percentile
from sandbox.controlplane.audit import AuditEvent
from sandbox.demo_steps import IMAGE, NAMESPACE
from sandbox.demo_watch import DeploymentWatch, Sighting
from sandbox.stack import EXAMPLES, Stack

EDITS = 100
PEER_EDITS = 20
DEADLINE_S = 10
WANTED = (2, f"{IMAGE}:1.0")
PATH = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/myapp"


def measure() -> list[Row]:
    chance = random.Random(51)  # the same edits in every run
    with fleet(0) as stack:
        watch = DeploymentWatch(stack.plane, NAMESPACE, "myapp")
        try:
            mark = now()
            spans = [_drift_once(stack, watch, number, chance) for number in range(EDITS)]
            time.sleep(1)
            events = [event for event in stack.plane.audit_events() if event.at >= mark]
            stack.stop_part("agent")
            with _kubectl_loop(stack):
                numbers = range(EDITS, EDITS + PEER_EDITS)
                peer = [_drift_once(stack, watch, number, chance) for number in numbers]
        finally:
            watch.close()
    asked = [event for event in events if event.user == AGENT]
    return [*_times(spans, peer), *_shares(events), *_requests(asked)]


def _times(spans: list[float], peer: list[float]) -> list[Row]:
    p50 = percentile(spans, 0.5)
    return [
        Row(
            what=f"drift → repaired, {len(spans)} edits, each by another manager, p50",
            measured=milliseconds(p50),
            peer=f"kubectl apply --server-side in a loop, {len(peer)} edits: {milliseconds(percentile(peer, 0.5))}",
            reach="≤ 40 ms",
            met=p50 <= 0.04,
        ),
        Row(what="p95", measured=milliseconds(percentile(spans, 0.95))),
        Row(
            what="p99",
            measured=milliseconds(percentile(spans, 0.99)),
            peer=milliseconds(percentile(peer, 0.99)),
        ),
    ]


def _shares(events: list[AuditEvent]) -> list[Row]:
    """Split a repair by the audit log; how long the edits' own PATCHes took tells how busy the machine is."""
    patches = [e for e in events if e.resource == "deployments" and e.verb == "patch"]
    edits = [e for e in patches if "fieldManager=bench-" in e.uri]
    repairs = [e for e in patches if e.user == AGENT]
    shares = {
        "the agent, from the edit's answer to its apply's arrival": [
            _between(edit.ended, next(e.at for e in repairs if e.at > edit.at)) for edit in edits
        ],
        "the API server, that apply": [_between(e.at, e.ended) for e in repairs],
        "for comparison: the API server, the edit itself": [_between(e.at, e.ended) for e in edits],
    }
    return [
        Row(what=f"  {name}, p50", measured=milliseconds(percentile(spans, 0.5)))
        for name, spans in shares.items()
    ]


def _between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _requests(asked: list[AuditEvent]) -> list[Row]:
    """Judge what the agent asked about the user's objects; list what it asked to keep its own books."""
    inside = [e for e in asked if e.namespace == NAMESPACE and e.verb != "watch"]
    writes = sum(e.verb in {"patch", "update", "create", "delete"} for e in inside)
    reads = len(inside) - writes
    other = Counter(f"{e.verb} {e.resource}" for e in asked if e.namespace != NAMESPACE)
    return [
        Row(
            what=f"requests about the user's objects for {EDITS} repairs",
            measured=f"{writes} writes, {reads} reads",
            reach="1 write and 0 reads each",
            met=(writes, reads) == (EDITS, 0),
        ),
        Row(
            what="besides, to tell of it (status, inventory)",
            measured=", ".join(f"{n} {what}" for what, n in sorted(other.items())) or "none",
        ),
    ]


def now() -> str:
    """Return this instant as the audit log spells it."""
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"


def _drift_once(stack: Stack, watch: DeploymentWatch, number: int, chance: random.Random) -> float:
    """Change replicas or image by hand; return the seconds until they are back, as the watch saw both."""
    time.sleep(chance.uniform(0.05, 0.15))
    replicas, image = WANTED
    spec: dict[str, object]
    if chance.random() < 0.5:
        replicas = chance.randint(3, 6)
        spec = {"replicas": replicas}
    else:
        image = f"{IMAGE}:by-hand-{number}"
        spec = {"template": {"spec": {"containers": [{"name": "myapp", "image": image}]}}}
    since = time.time()
    # A fresh field manager each time, so that no two edits look like a fight with one opponent.
    stack.plane.request("PATCH", f"{PATH}?fieldManager=bench-{number}", {"spec": spec})
    drifted = _await(watch, lambda s: (s.replicas, s.image) == (replicas, image), since)
    healed = _await(watch, lambda s: (s.replicas, s.image) == WANTED, drifted.at)
    return healed.at - drifted.at


def _await(watch: DeploymentWatch, test: Callable[[Sighting], bool], since: float) -> Sighting:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for sighting in watch.sightings[-50:]:
            if sighting.at >= since and test(sighting):
                return sighting
        time.sleep(0.002)
    raise RuntimeError(f"not seen in {DEADLINE_S} s; last: {watch.sightings[-1]}")


@contextmanager
def _kubectl_loop(stack: Stack) -> Iterator[None]:
    """Apply the folder over and over, as fast as kubectl can."""
    manifest = str(EXAMPLES / "config-repo" / "dev")
    options = ("--server-side", "--force-conflicts", "--field-manager=peer")
    ending = threading.Event()

    def loop() -> None:
        while not ending.is_set():
            stack.plane.kubectl("apply", *options, "-n", NAMESPACE, "-f", manifest)

    thread = threading.Thread(target=loop, name="peer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(DEADLINE_S)
