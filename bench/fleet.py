"""One Application of many small objects on a whole stack, and what its agent asked the API server."""

import contextlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.controlplane.audit import AuditEvent
from sandbox.demo_steps import APPLICATION, NAMESPACE
from sandbox.settings import PROJECT
from sandbox.stack import EXAMPLES, Stack, StackOptions
from sandbox.workspace import workspace

AGENT = "system:serviceaccount:lockgate-system:lockgate-agent"
CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: object-{n}
data:
  value: "0"
"""
DEADLINE_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """CPU seconds used so far and peak memory, from /proc."""

    cpu_s: float
    peak_mib: float


@contextlib.contextmanager
def fleet(objects: int) -> Iterator[Stack]:
    """Yield a running stack whose one Application holds the seed's Deployment and `objects` ConfigMaps, all Synced."""
    with workspace("bench") as space:
        files = space.root / "files"
        _write_files(files, objects)
        options = StackOptions(files=files, audit=True, poll="1h")
        with Stack(space.root / "stack", options) as stack:
            stack.plane.kubectl("apply", "-f", "-", input=stack.application_manifest())
            await_synced(stack)
            yield stack


def _write_files(root: Path, objects: int) -> None:
    copy_seed(root)
    for n in range(objects):
        (root / "dev" / f"object-{n}.yaml").write_text(CONFIG_MAP.format(n=n))


def copy_seed(root: Path) -> None:
    """Put the seed's config repo below `root`."""
    shutil.copytree(EXAMPLES / "config-repo", root, dirs_exist_ok=True)


def await_synced(stack: Stack, revision: str = "") -> None:
    """Wait until the Application is Synced and Healthy, at `revision` where one is given."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        said = stack.plane.kubectl("get", "application", APPLICATION, "-n", "argocd", "-o", "json")
        status = json.loads(said).get("status", {})
        sync = status.get("sync", {})
        good = (
            sync.get("status") == "Synced" and status.get("health", {}).get("status") == "Healthy"
        )
        if good and (not revision or sync.get("revision") == revision):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"not Synced and Healthy in {DEADLINE_S} s: {sync}")
        time.sleep(0.2)


def land(stack: Stack, path: str, content: str) -> str:
    """Change one file of the config repo through a merge request; return the landed commit."""
    project = stack.client("senior").projects.get(PROJECT)
    branch = f"bench-{time.time_ns()}"
    project.branches.create({"branch": branch, "ref": "main"})
    action = {"action": "update", "file_path": path, "content": content}
    project.commits.create({"branch": branch, "commit_message": "bench", "actions": [action]})
    opened = project.mergerequests.create(
        {"source_branch": branch, "target_branch": "main", "title": "bench"}
    )
    deadline = time.monotonic() + DEADLINE_S
    while True:
        merge_request = project.mergerequests.get(opened.iid)
        if merge_request.state == "merged":
            return str(merge_request.merge_commit_sha)
        if merge_request.detailed_merge_status == "mergeable":
            merge_request.merge(sha=merge_request.sha)
        if time.monotonic() > deadline:
            raise RuntimeError("the merge request could not be merged")


def count_requests(stack: Stack, since: str) -> Counter[str]:
    """Count what the agent asked since an instant (RFC 3339), as `verb resource`; watches are counted apart."""
    return Counter(
        f"{event.verb} {event.resource}{'/' + event.subresource if event.subresource else ''}"
        for event in stack.plane.audit_events(AGENT)
        if event.at >= since
    )


def on_objects(stack: Stack, since: str) -> list[AuditEvent]:
    """Return what the agent asked of objects in the Application's namespace since an instant; watches left out."""
    return [
        event
        for event in stack.plane.audit_events(AGENT)
        if event.at >= since and event.namespace == NAMESPACE and event.verb != "watch"
    ]


def usage(pid: int) -> Usage:
    """Return what a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return Usage(cpu_s=ticks / 100, peak_mib=int(peak.split()[1]) / 1024)


def find_pid(name: str, below: Path) -> int:
    """Return the process of a control plane's part, by its command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if line.partition(" ")[0].endswith(name) and str(below) in line:
                return int(folder.name)
    raise RuntimeError(f"{name} is not running")
