"""Drift → repaired: somebody changes a field of a managed object, and it is put back with one write and no read.

Measured by the API server's own events. The peer is what a cron job does: `kubectl apply --server-side` in a loop.
"""

import json
import time
from collections.abc import Callable

from bench.fleet import AGENT, fleet
from bench.table import Row, milliseconds, percentile
from sandbox.demo_steps import NAMESPACE
from sandbox.demo_watch import DeploymentWatch, Sighting
from sandbox.stack import EXAMPLES, Stack

EDITS = 100
PEER_EDITS = 5
DEADLINE_S = 10


def measure() -> list[Row]:
    with fleet(0) as stack:
        watch = DeploymentWatch(stack.plane, NAMESPACE, "myapp")
        try:
            mark = now()
            spans = [_drift_once(stack, watch, number) for number in range(EDITS)]
            time.sleep(1)
            events = [
                event
                for event in stack.plane.audit_events(AGENT)
                if event.at >= mark and event.resource == "deployments" and event.verb != "watch"
            ]
            stack.stop_part("agent")
            peer = [_peer_once(stack, watch) for _ in range(PEER_EDITS)]
        finally:
            watch.close()
    writes = sum(event.verb in {"patch", "update", "create", "delete"} for event in events)
    reads = len(events) - writes
    p50, p99 = percentile(spans, 0.5), percentile(spans, 0.99)
    return [
        Row(
            what=f"drift → repaired, {EDITS} edits, p50",
            measured=milliseconds(p50),
            peer=f"kubectl apply --server-side, run without pause: {milliseconds(percentile(peer, 0.5))}",
            reach="≤ 40 ms",
            met=p50 <= 0.04,
        ),
        Row(what="p99", measured=milliseconds(p99)),
        Row(
            what=f"writes and reads of {EDITS} repairs",
            measured=f"{writes} writes, {reads} reads",
            reach="1 write and 0 reads each",
            met=(writes, reads) == (EDITS, 0),
        ),
    ]


def now() -> str:
    """Return this instant as the audit log spells it."""
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"


def _drift_once(stack: Stack, watch: DeploymentWatch, number: int) -> float:
    """Change the replicas by hand and return the seconds until they are back, as the watch saw both."""
    # A fresh field manager each time, so that no two edits look like a fight with one opponent.
    wanted = 3 + number % 5
    since = time.time()
    patch = json.dumps({"spec": {"replicas": wanted}})
    who = f"--field-manager=bench-{number}"
    stack.plane.kubectl(
        "patch", "deployment", "myapp", "-n", NAMESPACE, "--type=merge", f"-p={patch}", who
    )
    drifted = _await(watch, lambda s: s.replicas == wanted, since)
    healed = _await(watch, lambda s: s.replicas == 2, drifted.at)
    time.sleep(0.05)
    return healed.at - drifted.at


def _await(watch: DeploymentWatch, test: Callable[[Sighting], bool], since: float) -> Sighting:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        for sighting in watch.sightings[-50:]:
            if sighting.at >= since and test(sighting):
                return sighting
        if time.monotonic() > deadline:
            raise RuntimeError(f"not seen in {DEADLINE_S} s; last: {watch.sightings[-1]}")
        time.sleep(0.002)


def _peer_once(stack: Stack, watch: DeploymentWatch) -> float:
    since = time.time()
    stack.plane.kubectl("scale", "deployment/myapp", "--replicas=4", "-n", NAMESPACE)
    drifted = _await(watch, lambda s: s.replicas == 4, since)
    manifest = str(EXAMPLES / "config-repo" / "dev")
    options = ("--server-side", "--force-conflicts", "--field-manager=peer")
    stack.plane.kubectl("apply", *options, "-n", NAMESPACE, "-f", manifest)
    return _await(watch, lambda s: s.replicas == 2, drifted.at).at - drifted.at
