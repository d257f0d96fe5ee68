"""What GitLab's adapter makes of the awkward answers the gate must not fall for."""

import json
from dataclasses import replace

import pytest

from ci_bot.core.facts import UNKNOWN, CommitStatus, Draft, State
from ci_bot.core.gate import Policy, VerdictKind, evaluate
from ci_bot.errors import ForgeAuthError, ForgeError
from ci_bot.forges.port import Forge
from tests.forge_harness import BRANCH, GitLabHarness


@pytest.fixture
def world(forge) -> GitLabHarness:
    return GitLabHarness(forge)


def kind(hub: Forge, number: int) -> VerdictKind:
    return evaluate(hub.get_review(number), Policy(approvals=1)).kind


def test_a_push_back_that_gitlab_has_not_recorded_yet_revives_no_approval(world: GitLabHarness):
    """A1: approve@h1, push h2, push h1 again: for a moment the newest known version of h1 is the approved one."""
    number, hub = world.open(), world.forge("lockgate-hub")
    first = hub.get_merge_request(number).head_sha
    world.approve(number, "senior")
    second = world.push(number, "lockgate-bot")
    known = [
        {"id": 2, "head_commit_sha": second, "created_at": "2026-11-24T09:00:02.000Z"},
        {"id": 1, "head_commit_sha": first, "created_at": "2020-01-01T00:00:00.000Z"},
    ]
    world.push_back(number, first, "lockgate-bot")
    world.sandbox.faults.add("status", path="/versions", status=200, body=json.dumps(known))
    assert hub.get_review(number).head_pushed_at is UNKNOWN


@pytest.mark.parametrize("rule", ["m*n", "ma*", "main"])
def test_a_wildcard_rule_protects_like_a_named_one(world: GitLabHarness, rule: str):
    """A developer's approval opens nothing where only maintainers merge, however the rule is written."""
    project = world.sandbox.instance.find_project(world.sandbox.project_path)
    project.protections[:] = [replace(project.protections[0], name=rule)]
    number, hub = world.open(), world.forge("lockgate-hub")
    world.approve(number, "junior")
    (approval,) = hub.get_review(number).approvals
    assert approval.can_merge is False
    assert kind(hub, number) is VerdictKind.WAIT


@pytest.mark.parametrize("rule", ["release/*", "main?", "[m]ain", "MAIN"])
def test_a_rule_for_other_branches_protects_nothing_here(world: GitLabHarness, rule: str):
    """On an unprotected branch a developer merges, as on GitLab; only `*` stands for other text."""
    project = world.sandbox.instance.find_project(world.sandbox.project_path)
    project.protections[:] = [replace(project.protections[0], name=rule)]
    number, hub = world.open(), world.forge("lockgate-hub")
    world.approve(number, "junior")
    (approval,) = hub.get_review(number).approvals
    assert approval.can_merge is True


def test_protections_that_cannot_be_read_leave_the_right_unknown(world: GitLabHarness):
    """A7."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.approve(number, "senior")
    world.sandbox.faults.add("status", path="/protected_branches", status=403, times=9)
    (approval,) = hub.get_review(number).approvals
    assert approval.can_merge is UNKNOWN
    assert kind(hub, number) is VerdictKind.WAIT


def test_a_reviewer_who_wants_changes_is_a_veto(world: GitLabHarness):
    """A3: one person's approval does not outvote another's request for changes."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.approve(number, "senior")
    junior = {"id": int(world.user_id("junior")), "username": "junior", "name": "June"}
    said = [
        {"user": junior, "state": "requested_changes"},
        {"user": {**junior, "id": 999, "username": "other"}, "state": "reviewed"},
    ]
    world.sandbox.faults.add("status", path="/reviewers", status=200, body=json.dumps(said))
    review = hub.get_review(number)
    assert [user.username for user in review.vetoes] == ["junior"]
    assert evaluate(review, Policy(approvals=1)).kind is VerdictKind.WAIT
    assert kind(hub, number) is VerdictKind.MERGE, "without the veto the gate is open"


def test_reviews_that_cannot_be_read_close_the_gate(world: GitLabHarness):
    """A7."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.approve(number, "senior")
    world.sandbox.faults.add("status", path="/reviewers", status=403)
    review = hub.get_review(number)
    assert review.vetoes is UNKNOWN
    assert evaluate(review, Policy(approvals=1)).kind is VerdictKind.WAIT


def test_a_deleted_approver_counts_for_nothing_and_breaks_nothing(world: GitLabHarness):
    """A5: `user: null`."""
    number, hub = world.open(), world.forge("lockgate-hub")
    given = {"approved_by": [{"user": None, "approved_at": "2099-01-01T00:00:00Z"}]}
    world.sandbox.faults.add("status", path="/approvals$", status=200, body=json.dumps(given))
    (approval,) = hub.get_review(number).approvals
    assert not approval.active


def test_a_merge_request_without_a_commit_is_never_merged(world: GitLabHarness):
    """F4: `sha: null` is a merge request with nothing in it; an empty `sha` would let GitLab merge anything."""
    number, senior = world.open(), world.forge("senior")
    world.sandbox.faults.add("patch", path=f"/merge_requests/{number}$", patch={"sha": None})
    assert senior.get_merge_request(number).head_sha == ""
    with pytest.raises(ForgeError, match="no commit"):
        senior.merge(number, head_sha="")
    assert world.sandbox.requests.matching("PUT", "/merge$") == []


def test_a_forks_merge_request_of_the_same_branch_name_is_left_alone(world: GitLabHarness):
    """Whoever forks the project can open one from a branch named like ours; it is not ours to edit."""
    world.open()
    bot = world.forge("lockgate-bot")
    world.sandbox.faults.add(
        "patch", path=r"/merge_requests\?", patch={"source_project_id": 999}, times=9
    )
    with pytest.raises(ForgeError):  # the one that stands there in truth is ours: GitLab says 409
        bot.ensure_merge_request(
            Draft(source_branch=BRANCH, target_branch="main", title="Bump", body="")
        )
    assert world.sandbox.requests.matching("PUT", "/merge_requests/") == []


def test_an_expired_token_is_not_taken_for_a_missing_right(world: GitLabHarness):
    """F5: False means "never here"; an error keeps the status for later."""
    number, hub = world.open(), world.forge("lockgate-hub")
    sha = hub.get_merge_request(number).head_sha
    world.sandbox.expire("lockgate-hub")
    with pytest.raises(ForgeAuthError):
        hub.set_status(CommitStatus(sha=sha, name="lockgate/gate", state=State.SUCCESS))


def test_a_token_with_too_little_scope_is_no_refusal_of_the_merge(world: GitLabHarness):
    """F5: it is a matter of configuration, and the error names the scope."""
    number, senior = world.open(), world.forge("senior")
    head = senior.get_merge_request(number).head_sha
    world.sandbox.narrow("senior", "read_api")
    with pytest.raises(ForgeAuthError) as caught:
        senior.merge(number, head_sha=head)
    assert "scope api" in caught.value.hint
