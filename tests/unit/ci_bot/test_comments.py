"""The comment, as the forge gets it. Golden files are rewritten by `pytest --update-golden`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ci_bot.core.comments import (
    LIMIT,
    CommentFacts,
    Transition,
    edit_key,
    format_span,
    make_marker,
    render_comment,
)
from ci_bot.core.facts import MergeRequest, MergeRequestState, User
from ci_bot.core.gate import Requirement, Verdict, VerdictKind
from ci_bot.core.rollout import (
    AppState,
    Condition,
    Drift,
    Health,
    Image,
    Landed,
    Problem,
    Resource,
    SyncStatus,
    fold,
)

GOLDEN = Path(__file__).parent / "golden"
T0 = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HEAD, SHA, OLD = "1a2b3c4d" * 5, "a1" * 20, "0e" * 20
IMAGE = "nanajanashia/argocd-app"
MERGE_REQUEST = MergeRequest(
    number=7,
    title="dev: 1.2",
    body="",
    state=MergeRequestState.OPEN,
    draft=False,
    source_branch="lockgate/dev/app",
    target_branch="main",
    head_sha=HEAD,
    author=User(id="9", username="lockgate-bot"),
    web_url="https://forge/mr/7",
)
MERGED = replace(MERGE_REQUEST, state=MergeRequestState.MERGED, landed_sha=SHA, merged_at=T0)
WAIT = Verdict(
    kind=VerdictKind.WAIT,
    head_sha=HEAD,
    requirements=(
        Requirement(name="state", met=True, text="the merge request is open"),
        Requirement(
            name="approvals",
            met=False,
            text="0 of 1 approvals on 1a2b3c4d; approval of @junior does not count: may not merge",
        ),
    ),
)
BEFORE = AppState(
    cluster="demo",
    app="argocd/myapp-argo-application",
    revision=OLD,
    change_revision=OLD,
    sync=SyncStatus.SYNCED,
    health=Health.HEALTHY,
    images=(Image(image=f"{IMAGE}:1.0"),),
    applied_at=T0 - timedelta(minutes=5),
    healthy_since=T0 - timedelta(minutes=4),
    replicas_ready=2,
    replicas_desired=2,
)
LIVE = replace(
    BEFORE,
    revision=SHA,
    change_revision=SHA,
    images=(Image(image=f"{IMAGE}:1.2", previous=f"{IMAGE}:1.0"),),
    applied_at=T0 + timedelta(seconds=0.4),
    healthy_since=T0 + timedelta(seconds=2.1),
    resources=(
        Resource(
            kind="Deployment",
            namespace="myapp",
            name="myapp",
            sync=SyncStatus.SYNCED,
            health=Health.HEALTHY,
        ),
        Resource(kind="Service", namespace="myapp", name="myapp-service", sync=SyncStatus.SYNCED),
    ),
)
DRIFTED = replace(
    LIVE,
    drift=(
        Drift(
            resource="Deployment myapp/myapp",
            field="spec.replicas",
            manager="kubectl",
            was="2",
            became="4",
            seen_at=T0 + timedelta(minutes=1),
            healed_at=T0 + timedelta(minutes=1, milliseconds=40),
        ),
    ),
)
BROKEN = replace(
    LIVE,
    health=Health.PROGRESSING,
    healthy_since=None,
    images=(Image(image=f"{IMAGE}:1.3-broken", previous=f"{IMAGE}:1.2"),),
    replicas_ready=1,
    problems=(
        Problem(
            resource="Pod myapp/myapp-6d9f",
            reason="CrashLoopBackOff",
            message="Back-off restarting failed container myapp in pod myapp-6d9f",
        ),
    ),
)
LANDED = Landed(sha=SHA, merged_at=T0)
MARKER = make_marker(b"secret", "1", 7)


def facts(**changes: object) -> CommentFacts:
    base = CommentFacts(
        noun="merge request",
        marker=MARKER,
        merge_request=MERGE_REQUEST,
        commit_url="https://forge/group/config/-/commit/{sha}",
        verdict=WAIT,
        apps=(BEFORE,),
    )
    return replace(base, **changes)


def merged(*states: AppState, history: tuple[Transition, ...] = ()) -> CommentFacts:
    rollout = fold(states, LANDED)
    return facts(merge_request=MERGED, verdict=None, rollout=rollout, apps=(), history=history)


HISTORY = (
    Transition(at=T0, text="merged"),
    Transition(at=T0 + timedelta(seconds=2), text="live in `demo`"),
)
CASES = {
    "waiting-for-approval": facts(),
    "closed": facts(merge_request=replace(MERGE_REQUEST, state=MergeRequestState.CLOSED)),
    "rolling": merged(replace(LIVE, health=Health.PROGRESSING, replicas_ready=1)),
    "live": merged(LIVE, history=HISTORY),
    "drift-healed": merged(DRIFTED),
    "degraded": merged(LIVE, replace(BROKEN, cluster="prod-eu")),
    "nothing-mapped": merged(),
}


@pytest.mark.parametrize("name", CASES)
def test_comment_matches_its_golden_file(name: str, *, update_golden: bool):
    golden = GOLDEN / f"{name}.md"
    text = render_comment(CASES[name])
    if update_golden:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_the_marker_differs_by_project_number_page_and_secret():
    """Nobody can make our marker without the secret, and no two comments share one."""
    markers = {
        make_marker(secret, project, number, page)
        for secret in (b"a", b"b")
        for project in ("1", "11")
        for number in (1, 11)
        for page in (1, 2)
    }
    assert len(markers) == 16


def test_pod_counts_and_clocks_alone_are_not_worth_an_edit():
    rolling = replace(LIVE, health=Health.PROGRESSING)
    later = replace(rolling, replicas_ready=1, observed_at=T0 + timedelta(seconds=5))
    assert edit_key(merged(rolling)) == edit_key(merged(later))


@pytest.mark.parametrize(
    "other",
    [
        replace(LIVE, health=Health.PROGRESSING),
        BROKEN,
        DRIFTED,
        replace(DRIFTED, drift=(replace(DRIFTED.drift[0], healed_at=None),)),
        replace(LIVE, held=("PersistentVolumeClaim myapp/data",)),
    ],
)
def test_a_change_of_class_a_drift_or_a_held_prune_is_worth_an_edit(other: AppState):
    assert edit_key(merged(LIVE)) != edit_key(merged(other))


def test_the_gate_is_part_of_what_is_worth_an_edit():
    opened = replace(WAIT, kind=VerdictKind.MERGE)
    assert edit_key(facts()) != edit_key(facts(verdict=opened))


def test_an_oversized_comment_leaves_out_whole_sections_and_says_so():
    """F7: never longer than the forge takes, never cut inside a fence or table."""
    many = tuple(
        replace(LIVE, cluster=f"c{i}", conditions=(), problems=BROKEN.problems * 10)
        for i in range(600)
    )
    text = render_comment(merged(*many))
    assert len(text) <= LIMIT
    assert "left out" in text
    assert text.count("<details>") == text.count("</details>")
    assert text.startswith(MARKER)


ATTACK = "x | @all\n/merge\n![](http://evil.example) <img src=x> ``` !1 #1 [a](javascript:1) --> "


def test_no_field_of_a_report_can_break_out():
    """M1: whatever an agent says stays inert text in the page."""
    hostile = replace(
        BROKEN,
        cluster=ATTACK,
        app=ATTACK,
        images=(Image(image=ATTACK, previous=ATTACK),),
        problems=(Problem(resource=ATTACK, reason="CrashLoopBackOff", message=ATTACK),),
        drift=(Drift(resource=ATTACK, field=ATTACK, manager=ATTACK, was=ATTACK, became=ATTACK),),
        held=(ATTACK,),
        extra=(ATTACK,),
        conditions=(Condition(type="SyncError", message=ATTACK),),
        change_revision=SHA,
    )
    text = render_comment(merged(hostile))
    outside = "\n".join(_strip_code(line) for line in text.splitlines()[1:])
    for harmful in ("@all", "/merge", "<img", "![", "javascript", "!1", "#1", "evil.example"):
        assert harmful not in outside
    rows = [line for line in text.splitlines() if line.startswith("| 🔴")]
    assert len(rows) == 1


def _strip_code(line: str) -> str:
    while "`" in line:
        start = line.index("`")
        fence = len(line[start:]) - len(line[start:].lstrip("`"))
        end = line.find("`" * fence, start + fence)
        if end < 0:
            return line
        line = line[:start] + line[end + fence :]
    return line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "40 ms"), (2.14, "2.1 s"), (12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_spans_read_as_people_say_them(seconds: float, text: str):
    assert format_span(seconds) == text
