"""Merge → applied: from the webhook's arrival at the hub to the acknowledged server-side apply, on real processes.

Hub and agent run as users start them, git is fetched over https from the sandbox's forge, the config repo has 5,000
files. Merges keep a distance: the agent takes one hint a second of a repository after a burst of five, and a flood is not
what is measured here. The peers: what polling costs (measured with the hub stopped and a poll of two seconds, computed for 60 s and
180 s), and git itself fetching each of the same commits over the same https.
"""

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.fleet import await_synced, copy_seed
from bench.merges import MAIN, STAGES, Merge, merge_once, poll_once
from bench.table import Row, milliseconds, percentile
from sandbox.stack import Stack, StackOptions
from sandbox.workspace import workspace

ROUNDS = 40
APART_S = 1.2
FILES = 5000
POLL_S, POLL_ROUNDS = 2, 10


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="lockgate-files-") as folder:
        files = _make_files(Path(folder))
        with (
            workspace("bench") as space,
            Stack(space.root, StackOptions(files=files, audit=True)) as stack,
        ):
            stack.plane.kubectl("apply", "-f", "-", input=stack.application_manifest())
            await_synced(stack)
            _plain_fetch(stack)
            merges, plain = [], []
            for number in range(ROUNDS):
                begun = time.monotonic()
                merges.append(merge_once(stack, f"2.{number}"))
                plain.append(_plain_fetch(stack))
                time.sleep(max(0.0, begun + APART_S - time.monotonic()))
            polls = _polls(stack)
    return _rows(merges, plain, polls)


def _make_files(root: Path) -> Path:
    """The seed's config repo, and 5,000 files of others beside it."""
    copy_seed(root)
    deployment = (root / "dev" / "deployment.yaml").read_text()
    for n in range(FILES):
        file = root / f"other/{n // 100}/app{n}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(deployment.replace("name: myapp", f"name: app{n}"))
    return root


def _polls(stack: Stack) -> list[float]:
    """Measure the agent by itself: no hub, a short poll."""
    stack.stop_part("agent")
    stack.stop_part("hub")
    stack.log("agent").unlink()  # readiness is read from it
    stack.options = replace(stack.options, poll=f"{POLL_S}s")
    stack.start_part("agent")
    chance, spans = random.Random(51), []
    for number in range(POLL_ROUNDS):
        # Else each merge would come at the same moment after the poll before it.
        time.sleep(chance.uniform(0, POLL_S))
        spans.append(poll_once(stack, f"3.{number}"))
    return spans


def _plain_fetch(stack: Stack) -> float:
    """Fetch the branch's new commit with git itself, as the agent's user, into a bare repository that has the rest.

    As a person's git does: it asks without a credential first, and again with it after the refusal.
    """
    bare, credential = stack.root / "peer.git", stack.root / "peer-git-credential"
    if not bare.exists():
        subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
        # A copy: after a success git writes the file anew, in a form the agent refuses.
        shutil.copy2(stack.root / "agent-git-credential", credential)
    helper = f"credential.helper=store --file={credential}"
    command = ["git", "-c", helper, "-C", str(bare), "fetch", "-q", stack.addresses.repository]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_SSL_CAINFO": str(stack.ca_file),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    begun = time.perf_counter()
    subprocess.run([*command, f"+{MAIN}:{MAIN}"], env=environment, check=True)
    return time.perf_counter() - begun


def _rows(merges: Sequence[Merge], plain: Sequence[float], polls: Sequence[float]) -> list[Row]:
    total = [merge.total_s for merge in merges]
    p50, p95, p99 = (percentile(total, share) for share in (0.5, 0.95, 0.99))
    outside = [merge.outside_s for merge in merges]
    out_p50 = percentile(outside, 0.5)
    sync_s = percentile([merge.applied - merge.begun for merge in merges], 0.5)
    computed = ", ".join(f"{s / 2 + sync_s:.1f} s at a poll of {s} s" for s in (60, 180))
    measured = f"{milliseconds(sum(polls) / len(polls))} at {POLL_S} s (mean of {len(polls)})"
    return [
        Row(
            what=f"merge → applied, {len(merges)} merges ≥ {APART_S} s apart, p50",
            measured=milliseconds(p50),
            peer=f"polling, no hub: {measured}; computed: {computed}",
            reach="≤ 350 ms",
            met=p50 <= 0.35,
        ),
        Row(what="p95", measured=milliseconds(p95)),
        Row(what="p99", measured=milliseconds(p99), reach="≤ 900 ms", met=p99 <= 0.9),
        Row(
            what="outside the git fetch, p50",
            measured=f"{milliseconds(out_p50)}, p95 {milliseconds(percentile(outside, 0.95))}",
            reach="≤ 100 ms",
            met=out_p50 <= 0.1,
        ),
        *(_stage(stage, merges, plain) for stage in STAGES),
    ]


def _stage(stage: tuple[str, str, str], merges: Sequence[Merge], plain: Sequence[float]) -> Row:
    name, start, end = stage
    spans = [getattr(merge, end) - getattr(merge, start) for merge in merges]
    peer = f"git fetch of the same commits: {_spread(plain)}" if name == "git fetch" else ""
    return Row(what=f"  {name}", measured=_spread(spans), peer=peer)


def _spread(spans: Sequence[float]) -> str:
    found = ((label, percentile(spans, share)) for label, share in (("p50", 0.5), ("p95", 0.95)))
    return ", ".join(f"{label} {milliseconds(value)}" for label, value in found)
