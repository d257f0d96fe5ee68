"""What nothing costs: idle minutes, a refresh that finds nothing, then one changed object, with 500 objects.

`python -m bench.idle --minutes 10` is the acceptance's measure; the default of one minute keeps `make bench` short. The
peer applies the same unchanged set with `kubectl apply --server-side`.
"""

import argparse
import resource
import sys
import time
from collections import Counter

from bench.drift import now
from bench.fleet import (
    CONFIG_MAP,
    Usage,
    await_synced,
    count_requests,
    find_pid,
    fleet,
    land,
    on_objects,
    usage,
)
from bench.table import Row, show
from sandbox.demo_steps import APPLICATION, NAMESPACE
from sandbox.stack import Stack

OBJECTS = 500
DEADLINE_S = 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1, help="how long to be idle")
    show("idle", measure(parser.parse_args().minutes))
    return 0


def measure(minutes: float = 1) -> list[Row]:
    with fleet(OBJECTS) as stack:
        time.sleep(5)
        return [*_idle(stack, minutes), *_refresh(stack), *_change(stack), *_peer(stack)]


def _idle(stack: Stack, minutes: float) -> list[Row]:
    mark, before = now(), _usages(stack)
    time.sleep(minutes * 60)
    asked, touched, after = (
        count_requests(stack, mark),
        len(on_objects(stack, mark)),
        _usages(stack),
    )
    return [
        Row(
            what=f"{minutes:g} idle minutes, {OBJECTS} objects: requests about objects",
            measured=f"{touched} (in all: {_show(asked)})",
            reach="0",
            met=touched == 0,
        ),
        Row(
            what="CPU of those minutes, and peak memory",
            measured=f"{_cpu(before, after)}; agent {after[0].peak_mib:.0f} MiB",
        ),
    ]


def _usages(stack: Stack) -> tuple[Usage, Usage]:
    """Return agent's and API server's."""
    server = find_pid("kube-apiserver", stack.plane.root)
    return usage(stack.children["agent"].pid), usage(server)


def _cpu(before: tuple[Usage, Usage], after: tuple[Usage, Usage]) -> str:
    agent, server = (then.cpu_s - first.cpu_s for first, then in zip(before, after, strict=True))
    return f"agent {agent:.2f} s, apiserver {server:.2f} s"


def _show(asked: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(asked.items())) or "none"


def _refresh(stack: Stack) -> list[Row]:
    """Ask for a comparison as `kubectl annotate` does, and wait until it was made."""
    mark, before, begun = now(), _usages(stack), time.perf_counter()
    key = "argocd.argoproj.io/refresh"
    stack.plane.kubectl("annotate", "application", APPLICATION, "-n", "argocd", f"{key}=normal")
    deadline = time.monotonic() + DEADLINE_S
    while key in stack.plane.kubectl(
        "get", "application", APPLICATION, "-n", "argocd", "-o", "json"
    ):
        if time.monotonic() > deadline:
            raise RuntimeError("the refresh was not answered")
        time.sleep(0.1)
    took_s, after = time.perf_counter() - begun, _usages(stack)
    touched, asked = len(on_objects(stack, mark)), count_requests(stack, mark)
    return [
        Row(
            what="a refresh that finds nothing: requests about objects",
            measured=f"{touched} (in all: {_show(asked)})",
            reach="0",
            met=touched == 0,
        ),
        Row(
            what="its time as kubectl sees it, and CPU",
            measured=f"{took_s:.1f} s; {_cpu(before, after)}",
        ),
    ]


def _change(stack: Stack) -> list[Row]:
    mark = now()
    content = CONFIG_MAP.format(n=7).replace('"0"', '"1"')
    await_synced(stack, land(stack, "dev/object-7.yaml", content))
    # The peer applies these files afterwards, and must find nothing to change.
    (stack.options.files / "dev" / "object-7.yaml").write_text(content)
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


def _peer(stack: Stack) -> list[Row]:
    """Apply the set as the cluster has it again with kubectl: once to own it, once more where nothing differs."""
    options = ("--server-side", "--force-conflicts", "--field-manager=peer", "-n", NAMESPACE)
    command = ("apply", *options, "-f", str(stack.options.files / "dev"))
    stack.plane.kubectl(*command)
    mark, before, begun = now(), _usages(stack), time.perf_counter()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    stack.plane.kubectl(*command)
    took_s, after = time.perf_counter() - begun, _usages(stack)
    then = resource.getrusage(resource.RUSAGE_CHILDREN)
    kubectl_s = then.ru_utime + then.ru_stime - used.ru_utime - used.ru_stime
    asked = Counter(
        event.verb
        for event in stack.plane.audit_events()
        if event.at >= mark and event.user_agent.startswith("kubectl/")
    )
    return [
        Row(
            what="the peer: kubectl apply --server-side of the same set, nothing changed",
            measured=f"{_show(asked)}, {took_s:.1f} s",
        ),
        Row(
            what="its CPU",
            measured=f"kubectl {kubectl_s:.2f} s, apiserver {after[1].cpu_s - before[1].cpu_s:.2f} s",
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
