"""`lockgate bump` killed outright at named points, then run again: one branch, one merge request (C3).

The points are held open from outside: the forge goes silent exactly there, and the bot is killed while it waits.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest

from sandbox.forge import SandboxForge
from tests.bump_desk import BRANCH, BumpDesk


@dataclass(frozen=True)
class Point:
    """Where the forge goes silent, and what is there by then."""

    method: str
    path: str
    kind: str
    pushed: bool
    opened: bool


POINTS = {
    "before the push": Point("GET", r"info/refs\?service=git-receive-pack", "hang", False, False),
    "after the push, before the merge request": Point(
        "POST", r"/merge_requests$", "hang", True, False
    ),
    "after the merge request, before its reply": Point(
        "POST", r"/merge_requests$", "hang_after", True, True
    ),
}


@pytest.mark.parametrize("name", POINTS)
def test_a_killed_bump_run_again_leaves_one_branch_and_one_merge_request(
    forge: SandboxForge, name: str
):
    point, desk = POINTS[name], BumpDesk(forge)
    fault = forge.faults.add(point.kind, method=point.method, path=point.path, seconds=60)
    process = subprocess.Popen(
        desk.argv("1.2"), env=desk.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not fault.hits or (point.opened and not desk.open_ones()):
        assert process.poll() is None, "it ended before the point"
        assert time.monotonic() < deadline, "it never came to the point"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # What was there when it died is what makes the points differ.
    assert (BRANCH in desk.branches()) == point.pushed
    assert bool(desk.open_ones()) == point.opened

    answer = desk.bump("1.2").answer

    assert desk.branches() == [BRANCH, "main"]
    (number,) = desk.open_ones()
    assert answer["merge_request"]["number"] == number
    assert desk.bump("1.2").answer["changed"] is False
    assert desk.open_ones() == [number]


def test_a_newer_bump_takes_the_place_of_the_older_one(forge: SandboxForge):
    """D12: one rolling branch and one merge request per target; title and body follow."""
    desk = BumpDesk(forge)
    first = desk.bump("1.2").answer
    second = desk.bump("1.3").answer
    assert first["merge_request"]["number"] == second["merge_request"]["number"]
    assert desk.branches() == [BRANCH, "main"]
    merge_request = forge.as_user("lockgate-bot").merge_request(
        int(second["merge_request"]["number"])
    )
    assert "1.3" in merge_request.title
    assert "1.2" not in merge_request.title
    assert desk.git("rev-list", "--count", f"main..{BRANCH}") == "1"


def test_a_commit_of_somebody_else_on_the_branch_is_never_overwritten(forge: SandboxForge):
    """D12: force-with-lease on our own last commit only."""
    desk = BumpDesk(forge)
    desk.bump("1.2")
    theirs = forge.as_user("junior").push(BRANCH, {"dev/notes.txt": "mine\n"})
    done = desk.bump("1.3")
    assert done.code == 4, done.err
    assert "error:" in done.err
    assert "hint:" in done.err
    assert desk.git("rev-parse", BRANCH) == theirs


def test_two_bots_at_once_leave_one_branch_and_one_merge_request(forge: SandboxForge):
    """G11: the slower one derives its edit again on what the faster one pushed."""
    desk = BumpDesk(forge)
    started = [
        subprocess.Popen(
            desk.argv(tag), env=desk.environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for tag in ("1.2", "1.3")
    ]  # fmt: skip
    for process in started:
        _, said = process.communicate(timeout=90)
        assert process.returncode == 0, said
    assert desk.branches() == [BRANCH, "main"]
    assert len(desk.open_ones()) == 1
