"""One suite for the forge port, run on the fake and on GitLab's adapter: what both must do the same."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from ci_bot.core.facts import (
    UNKNOWN,
    CommitStatus,
    Deployment,
    Draft,
    MergeRequestState,
    MergeResult,
    Review,
    State,
)
from ci_bot.core.gate import Policy, VerdictKind, evaluate
from ci_bot.errors import ForgeNotFoundError
from tests.forge_harness import (
    BRANCH,
    FakeHarness,
    GitLabHarness,
    Harness,
    is_first_parent_tip,
    seed_with,
)

MARKER = "<!-- lockgate:0123 -->"


@pytest.fixture(params=["fake", "gitlab"])
def make(request: pytest.FixtureRequest, start_forge) -> Callable[..., Harness]:
    """Make a world with one of the merge methods."""

    def build(merge_method: str = "merge") -> Harness:
        if request.param == "fake":
            return FakeHarness(merge_method=merge_method)
        return GitLabHarness(start_forge(seed_with(merge_method)))

    return build


@pytest.fixture
def world(make) -> Harness:
    return make()


def verdict(review: Review) -> VerdictKind:
    return evaluate(review, Policy(approvals=1)).kind


def test_an_approval_after_the_newest_push_opens_the_gate(world: Harness):
    number, hub = world.open(), world.forge("lockgate-hub")
    assert verdict(hub.get_review(number)) is VerdictKind.WAIT
    world.approve(number, "senior")
    assert verdict(hub.get_review(number)) is VerdictKind.MERGE


def test_a_push_after_the_approval_closes_it_and_pushing_back_does_not_reopen_it(world: Harness):
    """A1: approve@h1, push h2, force-push back to h1: the approval stays stale."""
    number, hub = world.open(), world.forge("lockgate-hub")
    first = hub.get_merge_request(number).head_sha
    world.approve(number, "senior")
    world.push(number, "lockgate-bot")
    assert verdict(hub.get_review(number)) is VerdictKind.WAIT
    world.push_back(number, first, "lockgate-bot")
    review = hub.get_review(number)
    assert review.merge_request.head_sha == first
    assert verdict(review) is VerdictKind.WAIT


def test_taking_an_approval_back_closes_the_gate(world: Harness):
    """A3."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.approve(number, "senior")
    world.unapprove(number, "senior")
    assert verdict(hub.get_review(number)) is VerdictKind.WAIT


def test_author_pushers_and_we_ourselves_are_excluded(world: Harness):
    """A4: whoever pushed cannot approve what they pushed."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.push(number, "senior")
    world.approve(number, "senior")
    review = hub.get_review(number)
    expected = {world.user_id(name) for name in ("lockgate-bot", "lockgate-hub", "senior")}
    assert expected <= review.excluded
    assert verdict(review) is VerdictKind.WAIT


def test_a_juniors_approval_comes_with_its_missing_right(world: Harness):
    number, hub = world.open(), world.forge("lockgate-hub")
    world.approve(number, "junior")
    (approval,) = hub.get_review(number).approvals
    assert (approval.user.username, approval.can_merge) == ("junior", False)


def test_approvals_that_cannot_be_read_are_unknown(world: Harness):
    """A7: fail closed."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.approve(number, "senior")
    world.hide_approvals()
    review = hub.get_review(number)
    assert review.approvals is UNKNOWN
    assert verdict(review) is VerdictKind.WAIT


@pytest.mark.parametrize("method", ["merge", "squash", "ff"])
def test_the_landed_commit_is_what_stands_on_the_target_branch(make, method: str):
    """D10: merge commit, else squash commit, else head."""
    world = make(method)
    number, senior = world.open(), world.forge("senior")
    head = senior.get_merge_request(number).head_sha
    outcome = senior.merge(number, head_sha=head)
    assert outcome.result is MergeResult.MERGED
    merged = senior.get_merge_request(number)
    assert is_first_parent_tip(world, merged)
    assert (merged.landed_sha == head) == (method == "ff")
    found = world.forge("lockgate-hub").list_merge_requests(landed_sha=merged.landed_sha)
    assert [each.number for each in found] == [number]
    assert merged.merged_by is not None
    assert merged.merged_at is not None


def test_another_head_than_the_judged_one_is_not_merged(world: Harness):
    """A2."""
    number, senior = world.open(), world.forge("senior")
    judged = senior.get_merge_request(number).head_sha
    world.push(number, "lockgate-bot")
    outcome = senior.merge(number, head_sha=judged)
    assert outcome.result is MergeResult.WAITING
    assert "head moved" in outcome.reason
    assert senior.get_merge_request(number).state is MergeRequestState.OPEN


def test_who_may_not_merge_is_refused(world: Harness):
    number, junior = world.open(), world.forge("junior")
    head = junior.get_merge_request(number).head_sha
    assert junior.merge(number, head_sha=head).result is MergeResult.REFUSED


def test_a_lost_reply_of_a_merge_that_happened_is_success(world: Harness):
    """A11: read before anything is said."""
    number, senior = world.open(), world.forge("senior")
    head = senior.get_merge_request(number).head_sha
    world.lose_reply_of_merge()
    assert senior.merge(number, head_sha=head).result is MergeResult.MERGED


def test_merging_twice_is_merging_once(world: Harness):
    number, senior = world.open(), world.forge("senior")
    head = senior.get_merge_request(number).head_sha
    senior.merge(number, head_sha=head)
    again = senior.merge(number, head_sha=head)
    assert again.result is MergeResult.MERGED


def test_a_closed_one_is_refused_and_closing_twice_is_no_error(world: Harness):
    number, bot = world.open(), world.forge("lockgate-bot")
    assert bot.close_merge_request(number).state is MergeRequestState.CLOSED
    assert bot.close_merge_request(number).state is MergeRequestState.CLOSED
    head = bot.get_merge_request(number).head_sha
    assert world.forge("senior").merge(number, head_sha=head).result is MergeResult.REFUSED


def test_one_branch_has_one_open_merge_request(world: Harness):
    """Ensured again with other words it is the same one, with those words."""
    number, bot = world.open(), world.forge("lockgate-bot")
    draft = Draft(source_branch=BRANCH, target_branch="main", title="Bump", body="now 1.3")
    ensured = bot.ensure_merge_request(draft)
    assert (ensured.number, ensured.title, ensured.body) == (number, "Bump", "now 1.3")
    assert bot.ensure_merge_request(draft).number == number
    found = bot.list_merge_requests(state=MergeRequestState.OPEN, source_branch=BRANCH)
    assert [each.number for each in found] == [number]


def test_changed_paths_are_told(world: Harness):
    number = world.open()
    assert list(world.forge("lockgate-hub").list_changed_paths(number)) == ["dev/deployment.yaml"]


def test_our_comment_is_edited_in_place(world: Harness):
    number, hub = world.open(), world.forge("lockgate-hub")
    first = hub.ensure_comment(number, MARKER, f"{MARKER}\none")
    second = hub.ensure_comment(number, MARKER, f"{MARKER}\ntwo")
    assert first.id == second.id
    assert world.comments(number) == [("lockgate-hub", f"{MARKER}\ntwo")]


def test_somebody_elses_copy_of_our_marker_is_left_alone(world: Harness):
    """M2: the author is part of what makes a comment ours."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.comment(number, "junior", f"{MARKER}\nforged")
    hub.ensure_comment(number, MARKER, f"{MARKER}\nours")
    assert sorted(world.comments(number)) == [
        ("junior", f"{MARKER}\nforged"),
        ("lockgate-hub", f"{MARKER}\nours"),
    ]


def test_our_comment_is_found_behind_many_others(world: Harness):
    """A6: over all pages, not the first."""
    number, hub = world.open(), world.forge("lockgate-hub")
    for count in range(130):
        world.comment(number, "junior", f"note {count}")
    hub.ensure_comment(number, MARKER, f"{MARKER}\none")
    hub.ensure_comment(number, MARKER, f"{MARKER}\ntwo")
    ours = [body for author, body in world.comments(number) if author == "lockgate-hub"]
    assert ours == [f"{MARKER}\ntwo"]


def test_a_lost_reply_of_a_comment_leaves_one_comment(world: Harness):
    """F2: a write is never repeated blindly."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.lose_reply_of_comment()
    hub.ensure_comment(number, MARKER, f"{MARKER}\none")
    hub.ensure_comment(number, MARKER, f"{MARKER}\none")
    assert len(world.comments(number)) == 1


def gate_status(sha: str, state: State) -> CommitStatus:
    return CommitStatus(sha=sha, name="lockgate/gate", state=state, description="said")


def test_a_status_may_be_repeated_and_changed(world: Harness):
    number, hub = world.open(), world.forge("lockgate-hub")
    sha = hub.get_merge_request(number).head_sha
    for state in (State.PENDING, State.PENDING, State.SUCCESS, State.SUCCESS):
        assert hub.set_status(gate_status(sha, state))


def test_a_status_the_token_may_not_set_is_told(world: Harness):
    """D9: on a protected branch's commit only who may push or merge there."""
    number, senior = world.open(), world.forge("senior")
    senior.merge(number, head_sha=senior.get_merge_request(number).head_sha)
    landed = senior.get_merge_request(number).landed_sha
    assert not world.forge("lockgate-hub").set_status(gate_status(landed, State.SUCCESS))
    assert senior.set_status(gate_status(landed, State.SUCCESS))


def test_one_deployment_a_place_and_commit_moves_through_its_states(world: Harness):
    number, senior, hub = world.open(), world.forge("senior"), world.forge("lockgate-hub")
    senior.merge(number, head_sha=senior.get_merge_request(number).head_sha)
    sha = senior.get_merge_request(number).landed_sha
    wanted = Deployment(
        id="", environment="dev/rollout", sha=sha, state=State.RUNNING, creator=hub.me, ref="main"
    )
    first = hub.ensure_deployment(wanted)
    for state in (State.RUNNING, State.SUCCESS, State.FAILED, State.SUCCESS):
        assert hub.ensure_deployment(replace(wanted, state=state)).id == first.id
    other = hub.ensure_deployment(replace(wanted, environment="dev/demo/argocd/app"))
    found = hub.list_deployments(sha=sha)
    assert [(d.id, d.state) for d in found] == [
        (other.id, State.RUNNING),
        (first.id, State.SUCCESS),
    ]
    assert [d.id for d in hub.list_deployments(sha=sha, environment="dev/rollout")] == [first.id]
    assert hub.list_deployments(sha="0" * 40) == []


def test_a_deployment_says_who_made_it_and_is_moved_by_nobody_else(world: Harness):
    """A14: the creator is what makes an outcome trusted, so ours is never laid over a stranger's."""
    number, senior, hub = world.open(), world.forge("senior"), world.forge("lockgate-hub")
    senior.merge(number, head_sha=senior.get_merge_request(number).head_sha)
    sha = senior.get_merge_request(number).landed_sha
    junior = world.forge("junior")
    forged = Deployment(
        id="", environment="dev/rollout", sha=sha, state=State.SUCCESS, creator=junior.me
    )
    junior.ensure_deployment(replace(forged, ref="main"))
    hub.ensure_deployment(replace(forged, ref="main", state=State.RUNNING))
    found = {d.creator.username: d.state for d in hub.list_deployments(sha=sha)}
    assert found == {"junior": State.SUCCESS, "lockgate-hub": State.RUNNING}


def test_a_file_that_is_not_there_is_none(world: Harness):
    hub = world.forge("lockgate-hub")
    assert hub.get_file("no/such/file.yaml", "main") is None
    assert hub.get_file("dev/deployment.yaml", "no-such-branch") is None


def test_a_merge_request_that_is_not_there_is_an_error(world: Harness):
    with pytest.raises(ForgeNotFoundError):
        world.forge("lockgate-hub").get_merge_request(4711)


def test_only_what_changed_since_is_listed(world: Harness):
    number, hub = world.open(), world.forge("lockgate-hub")
    created = hub.get_merge_request(number).created_at
    assert created is not None
    later = created.replace(year=created.year + 1)
    assert [m.number for m in hub.list_merge_requests(updated_after=created)] == [number]
    assert list(hub.list_merge_requests(updated_after=later)) == []
