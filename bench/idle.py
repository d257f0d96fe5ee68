"""What nothing costs: an idle minute, a refresh that finds nothing, then one changed object, with 500 objects."""

import os
import time
from collections import Counter

from bench.drift import now
from bench.fleet import (
    CONFIG_MAP,
    await_synced,
    count_requests,
    find_pid,
    fleet,
    land,
    on_objects,
    usage,
)
from bench.table import Row
from sandbox.demo_steps import APPLICATION, NAMESPACE
from sandbox.stack import Stack

OBJECTS = 500
IDLE_S = int(os.environ.get("BENCH_IDLE_S", "60"))  # the acceptance asks for 600
DEADLINE_S = 30


def measure() -> list[Row]:
    with fleet(OBJECTS) as stack:
        time.sleep(5)
        return [*_idle(stack), _refresh(stack), *_change(stack), _peer(stack)]


def _idle(stack: Stack) -> list[Row]:
    agent, server = stack.children["agent"].pid, find_pid("kube-apiserver", stack.plane.root)
    mark, before, served = now(), usage(agent), usage(server)
    time.sleep(IDLE_S)
    asked, after, then = count_requests(stack, mark), usage(agent), usage(server)
    touched = len(on_objects(stack, mark))
    return [
        Row(
            what=f"{IDLE_S} idle seconds, {OBJECTS} objects: requests about objects",
            measured=f"{touched} (in all: {_show(asked)})",
            reach="0",
            met=touched == 0,
        ),
        Row(
            what="CPU of those seconds, and peak memory",
            measured=f"agent {after.cpu_s - before.cpu_s:.2f} s, apiserver {then.cpu_s - served.cpu_s:.2f} s; "
            f"agent {after.peak_mib:.0f} MiB",
        ),
    ]


def _show(asked: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(asked.items())) or "none"


def _refresh(stack: Stack) -> Row:
    """Ask for a comparison as `kubectl annotate` does, and wait until it was made."""
    mark = now()
    key = "argocd.argoproj.io/refresh"
    stack.plane.kubectl("annotate", "application", APPLICATION, "-n", "argocd", f"{key}=normal")
    deadline = time.monotonic() + DEADLINE_S
    while key in stack.plane.kubectl(
        "get", "application", APPLICATION, "-n", "argocd", "-o", "json"
    ):
        if time.monotonic() > deadline:
            raise RuntimeError("the refresh was not answered")
        time.sleep(0.1)
    touched = len(on_objects(stack, mark))
    asked = count_requests(stack, mark)
    return Row(
        what="a refresh that finds nothing: requests about objects",
        measured=f"{touched} (in all: {_show(asked)})",
        reach="0",
        met=touched == 0,
    )


def _change(stack: Stack) -> list[Row]:
    mark = now()
    content = CONFIG_MAP.format(n=7).replace('"0"', '"1"')
    await_synced(stack, land(stack, "dev/object-7.yaml", content))
    touched = on_objects(stack, mark)
    writes = [event for event in touched if event.verb == "patch"]
    return [
        Row(
            what=f"one changed object of {OBJECTS}: requests about objects",
            measured=f"{len(writes)} writes, {len(touched) - len(writes)} others",
            reach="1 write",
            met=(len(writes), len(touched)) == (1, 1),
        )
    ]


def _peer(stack: Stack) -> Row:
    """Apply the same set again with kubectl; nothing differs."""
    before = stack.plane.request_counts()
    begun = time.perf_counter()
    options = ("--server-side", "--force-conflicts", "--field-manager=peer", "-n", NAMESPACE)
    stack.plane.kubectl("apply", *options, "-f", str(stack.options.files / "dev"))
    took = time.perf_counter() - begun
    counts = stack.plane.request_counts()
    patches = sum(
        count - before.get(key, 0)
        for key, count in counts.items()
        if "PATCH" in str(key).upper() or "APPLY" in str(key).upper()
    )
    return Row(
        what="the peer: kubectl apply --server-side of the same set, nothing changed",
        measured=f"{patches:.0f} writes in {took:.1f} s",
    )
