"""Merge → applied: from the webhook's arrival at the hub to the acknowledged server-side apply, on real processes.

Hub and agent run as users start them, git is fetched over https from the sandbox's forge, the config repo has 5,000
files. Times come from the parts' own logs and the API server's audit log: one clock, one machine. The peer is what
polling costs: measured with the hub stopped and a poll of two seconds, and computed for 60 s and 180 s.
"""

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.fleet import AGENT, await_synced, copy_seed, land
from bench.table import Row, milliseconds, percentile
from sandbox.demo_steps import IMAGE
from sandbox.settings import PROJECT
from sandbox.stack import Stack, StackOptions
from sandbox.workspace import workspace

ROUNDS = 40
FILES = 5000
DEADLINE_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Instants of one merge, in seconds since the epoch."""

    received: float  # first byte of the push's delivery at the hub
    hinted: float
    woken: float  # the agent took the hint
    fetched: float  # commit, tree and blobs are there, rendered
    applied: float  # the API server had answered the apply


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="lockgate-files-") as folder:
        files = _make_files(Path(folder))
        with (
            workspace("bench") as space,
            Stack(space.root, StackOptions(files=files, audit=True)) as stack,
        ):
            stack.plane.kubectl("apply", "-f", "-", input=stack.application_manifest())
            await_synced(stack)
            merges = [_merge_once(stack, number) for number in range(ROUNDS)]
            git_s = [_plain_fetch(stack, space.root) for _ in range(10)]
    return _rows(merges, git_s)


def _make_files(root: Path) -> Path:
    """The seed's config repo, and 5,000 files of others beside it."""
    copy_seed(root)
    deployment = (root / "dev" / "deployment.yaml").read_text()
    for n in range(FILES):
        file = root / f"other/{n // 100}/app{n}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(deployment.replace("name: myapp", f"name: app{n}"))
    return root


def _merge_once(stack: Stack, number: int) -> Merge:
    """Land one image tag through a merge request and read off when what happened."""
    project = stack.client("senior").projects.get(PROJECT)
    text = project.files.get("dev/deployment.yaml", "main").decode().decode()
    old = next(line for line in text.splitlines() if "image:" in line)
    begun = time.time()
    landed = land(
        stack, "dev/deployment.yaml", text.replace(old, f"        image: {IMAGE}:2.{number}")
    )
    applied = _await_apply(stack, begun)
    synced = _find(stack, "agent", "application synced", begun, revision=landed)
    pushed = _find(stack, "hub", "push arrived", begun, ref="refs/heads/main")
    answered = _find(stack, "hub", "delivery answered", pushed[0])
    woken = _find(stack, "agent", "hint taken", begun)
    load_s = float(synced[1]["load_ms"]) / 1000
    total_s = float(synced[1]["total_ms"]) / 1000
    return Merge(
        received=answered[0] - float(answered[1]["took_ms"]) / 1000,
        hinted=pushed[0],
        woken=woken[0],
        fetched=synced[0] - total_s + load_s,
        applied=applied,
    )


def _await_apply(stack: Stack, since: float) -> float:
    """Return when the API server had answered the agent's apply of the Deployment."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        for line in stack.plane.layout.audit_log.read_bytes().splitlines()[-400:]:
            event = json.loads(line)
            target = event.get("objectRef") or {}
            is_ours = event["user"]["username"] == AGENT and target.get("name") == "myapp"
            if event["stage"] == "ResponseComplete" and event["verb"] == "patch" and is_ours:
                at = _instant(event["stageTimestamp"])
                if at > since:
                    return at
        if time.monotonic() > deadline:
            raise RuntimeError("the change was not applied")
        time.sleep(0.05)


def _find(
    stack: Stack, part: str, event: str, since: float, **fields: str
) -> tuple[float, dict[str, Any]]:
    """Return the first log line of that event since an instant."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        for line in stack.log(part).read_text(errors="replace").splitlines():
            if event not in line or not line.startswith("{"):
                continue
            entry = json.loads(line)
            at = _instant(entry["timestamp"])
            if at >= since and all(entry.get(key) == value for key, value in fields.items()):
                return at, entry
        if time.monotonic() > deadline:
            raise RuntimeError(f"{part} did not log {event!r}")
        time.sleep(0.05)


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _plain_fetch(stack: Stack, root: Path) -> float:
    """Fetch one branch tip with git itself over the same https, into a repository that has the rest."""
    bare = root / "peer.git"
    token = stack.client("lockgate-agent").private_token
    url = stack.addresses.repository.replace("https://", f"https://agent:{token}@")
    environment = {"PATH": "/usr/bin:/bin", "GIT_SSL_CAINFO": str(stack.ca_file)}
    if not bare.exists():
        subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    begun = time.perf_counter()
    subprocess.run(
        ["git", "-C", str(bare), "fetch", "-q", url, "+refs/heads/main:refs/heads/main"],
        env=environment,
        check=True,
    )
    return time.perf_counter() - begun


def _rows(merges: list[Merge], git_s: list[float]) -> list[Row]:
    total = [m.applied - m.received for m in merges]
    stages = {
        "webhook received → hint sent": [m.hinted - m.received for m in merges],
        "hint sent → agent woken": [m.woken - m.hinted for m in merges],
        "agent woken → fetched and rendered": [m.fetched - m.woken for m in merges],
        "fetched → apply acknowledged": [m.applied - m.fetched for m in merges],
    }
    outside = [m.applied - m.received - (m.fetched - m.woken) for m in merges]
    p50, p99 = percentile(total, 0.5), percentile(total, 0.99)
    out_p50 = percentile(outside, 0.5)
    sync = percentile([m.applied - m.woken for m in merges], 0.5)
    polls = ", ".join(f"poll of {s} s: {s / 2 + sync:.1f} s on average" for s in (60, 180))
    fetch = f"plain git fetch p50 {milliseconds(percentile(git_s[1:], 0.5))}"
    return [
        Row(
            what=f"merge → applied, {len(merges)} merges, p50",
            measured=milliseconds(p50),
            peer=f"{polls} (computed)",
            reach="≤ 350 ms",
            met=p50 <= 0.35,
        ),
        Row(what="p99", measured=milliseconds(p99), reach="≤ 900 ms", met=p99 <= 0.9),
        Row(
            what="outside the git fetch, p50",
            measured=milliseconds(out_p50),
            peer=fetch,
            reach="≤ 100 ms",
            met=out_p50 <= 0.1,
        ),
        *(
            Row(
                what=f"  {name}",
                measured=f"p50 {milliseconds(percentile(values, 0.5))}, p99 {milliseconds(percentile(values, 0.99))}",
            )
            for name, values in stages.items()
        ),
    ]
