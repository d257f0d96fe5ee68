"""M1: whatever people and programs put into names, messages, tags and commits, what we post stays inert on the forge.

Judged by GitLab's published syntax (`sandbox.forge.markdown.effects`), which shares nothing with our escaping. That a
real GitLab agrees is unproven here.
"""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci_bot.core.changes import draft_of
from ci_bot.core.comments import CommentFacts, make_marker, render_comment
from ci_bot.core.facts import (
    Approval,
    MergeRequest,
    MergeRequestState,
    Review,
    User,
)
from ci_bot.core.gate import Policy, evaluate
from ci_bot.core.markdown import code
from ci_bot.core.rollout import (
    AppState,
    Condition,
    Drift,
    Health,
    Image,
    Landed,
    Operation,
    Problem,
    Resource,
    SyncStatus,
    fold,
)
from sandbox.forge.markdown import effects

T0 = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SHA = "a1" * 20
OURS = "https://forge.example/group/config/-/commit/"
ATTACKS = [
    "@all",
    "@senior please look",
    "&#64;all",
    "\n/merge\n",
    "x\n/approve",
    "x\u2028/close",
    "x\x0b/close",
    "!1 #1 &1 $1 ~bug %v1 ^alert#1",
    "[[wiki]] [issue:1]",
    "0f9e8d7c6b5a",
    "<img src=https://evil.example/x.png>",
    "![x](https://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "https://evil.example/ www.evil.example",
    "`",
    "```\n@all\n```",
    "``````",
    "--> @all",
    "</details> @all",
    "| @all |",
    "\\`@all\\`",
    "\u202e@all\u202c",
    "a" * 5000 + "@all",
    "- [ ] @all",
    "> @all",
    "# @all",
    "$$\n/merge\n$$",
    "*@all*",
    "_/merge_",
    "@`all",
    "`@all",
]
TEXT = st.sampled_from(ATTACKS) | st.text(max_size=40) | st.lists(
    st.sampled_from([*"`@/!#<>[]()|\\*_~$&%^\n\r -", "all", "merge", "www.x.y", "1"]), max_size=14
).map("".join)  # fmt: skip


def merge_request(text: str) -> MergeRequest:
    return MergeRequest(
        number=7,
        title=text,
        body=text,
        state=MergeRequestState.MERGED,
        draft=False,
        source_branch=text,
        target_branch="main",
        head_sha="1a2b3c4d" * 5,
        author=User(id="1", username="bot"),
        web_url="",
        landed_sha=SHA,
        merged_at=T0,
    )


def hostile_state(text: str) -> AppState:
    return AppState(
        cluster=text,
        app=text,
        repo=text,
        path=text,
        revision=SHA,
        change_revision=SHA,
        sync=SyncStatus.SYNCED,
        health=Health.DEGRADED,
        health_message=text,
        operation=Operation(phase="Failed", message=text, revision=text),
        resources=(
            Resource(kind=text, namespace=text, name=text, sync=SyncStatus.SYNCED, message=text),
        ),
        conditions=(Condition(type="SyncError", message=text),),
        images=(Image(image=text, previous=text + "x"),),
        drift=(Drift(resource=text, field=text, manager=text, was=text, became=text),),
        problems=(Problem(resource=text, reason=text, message=text),),
        held=(text,),
        extra=(text,),
        observed_at=T0,
    )


def rollout_comment(text: str) -> str:
    marker = make_marker(b"secret", "1", 7)
    return render_comment(
        CommentFacts(
            noun="merge request",
            marker=marker,
            merge_request=merge_request(text),
            commit_url=OURS + "{sha}",
            rollout=fold([hostile_state(text)], Landed(sha=SHA, merged_at=T0)),
        )
    )


def gate_comment(text: str) -> str:
    person = User(id="9", username=text)
    opened = replace(merge_request(text), state=MergeRequestState.OPEN, merge_blocker=text)
    review = Review(
        merge_request=opened,
        head_pushed_at=T0,
        approvals=(Approval(user=person, at=T0, can_merge=False),),
        vetoes=(person,),
        unmapped_emails=(text,),
    )
    return render_comment(
        CommentFacts(
            noun="merge request",
            marker=make_marker(b"secret", "1", 7),
            merge_request=opened,
            verdict=evaluate(review, Policy(approvals=1)),
            apps=(hostile_state(text),),
        )
    )


@pytest.mark.parametrize("text", ATTACKS)
@pytest.mark.parametrize("make", [rollout_comment, gate_comment])
def test_a_known_attack_does_nothing(make, text: str):
    found = effects(make(text), own=(OURS,))
    assert found.inert, found


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_no_text_at_all_does_anything(text: str):
    for make in (rollout_comment, gate_comment):
        found = effects(make(text), own=(OURS,))
        assert found.inert, (text, found)


@pytest.mark.parametrize("text", [attack for attack in ATTACKS if "\n" not in attack])
def test_a_hostile_commit_makes_no_hostile_merge_request(text: str):
    """The body of a bump's merge request is made from its commit message."""
    message = f"Bump app to 1 in dev\n\n{text} -> {text}\n\nPipeline: {text}\n"
    draft = draft_of(message, source_branch="lockgate/dev/app", target_branch="main")
    found = effects(draft.body)
    assert not found.quick_actions
    assert not found.mentions
    assert not [url for url in found.external_urls if "evil" in url and "Pipeline" not in message]


def test_the_judge_bites():
    """If nothing were ever found, the tests above would say nothing."""
    for text, field in (
        ("@all", "mentions"),
        ("/merge", "quick_actions"),
        ("see !1", "references"),
        ("![x](https://evil.example/x.png)", "external_urls"),
    ):
        assert getattr(effects(text), field), text
        assert effects(f"said {code(text)}").inert
