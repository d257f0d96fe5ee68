"""What the hub says on a merge request, worked out against the forge port in memory and a real database."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ci_bot.core.facts import State
from ci_bot.core.rollout import Drift, Health, Problem
from ci_bot.store.database import Database
from tests.hub_desk import LIVE, ROLLING, Desk


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "hub.db")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def rolling(**more: object) -> dict[str, object]:
    return {"health": Health.PROGRESSING, "healthy_since": None, **more}


# -- before the merge -------------------------------------------------------------------------------------------------


def test_an_open_merge_request_shows_what_it_waits_for(desk: Desk):
    """The gate's reasons are on the comment and the status of the head, with what runs now."""
    desk.report(desk.world.heads["main"])
    number = desk.world.open()
    desk.reporter.read_merge_request(number)
    desk.write()
    assert "Waiting: 0 of 1 approval" in desk.comment(number)
    assert "argocd/web" in desk.comment(number)
    (status,) = desk.world.statuses
    assert (status.name, status.state) == ("lockgate/gate", State.PENDING)
    assert status.sha == desk.world.merge_requests[number].head_sha


def test_the_gate_opens_on_the_comment_and_the_status(desk: Desk):
    """One comment, edited in place."""
    number = desk.world.open()
    desk.reporter.read_merge_request(number)
    desk.write()
    desk.world.approve(number, desk.world.senior)
    desk.reporter.read_merge_request(number)
    desk.write()
    assert "The gate is open" in desk.comment(number)
    assert desk.world.statuses[-1].state is State.SUCCESS


def test_a_policy_that_cannot_be_read_opens_nothing(desk: Desk):
    """Fail closed, and say where the mistake is."""
    desk.world.put_file(".lockgate.yaml", b"approvals: [\n")
    number = desk.world.open()
    desk.world.approve(number, desk.world.senior)
    desk.reporter.read_merge_request(number)
    desk.write()
    assert ".lockgate.yaml" in desk.comment(number)
    assert desk.world.statuses[-1].state is State.PENDING


def test_looking_again_without_news_owes_nothing(desk: Desk):
    """W5, W6: any number of deliveries and polls say a thing once."""
    number = desk.world.open()
    for _ in range(100):
        desk.reporter.read_merge_request(number)
    assert sorted(desk.write()) == sorted({f"comment:{number}", *desk_status_keys(desk, number)})
    desk.reporter.read_merge_request(number)
    assert desk.write() == []


def desk_status_keys(desk: Desk, number: int) -> list[str]:
    return [f"status:{desk.world.merge_requests[number].head_sha}:lockgate/gate"]


def test_another_state_of_an_application_is_shown_before_the_merge(desk: Desk):
    """Who is about to merge sees that the place is broken already."""
    desk.report(desk.world.heads["main"])
    number = desk.world.open()
    desk.reporter.read_merge_request(number)
    assert desk.reporter.find_touched().open == ()
    desk.report(desk.world.heads["main"], health=Health.DEGRADED)
    assert desk.reporter.find_touched().open == (number,)
    desk.say()
    assert "Degraded" in desk.comment(number)


# -- after the merge --------------------------------------------------------------------------------------------------


def test_a_rollout_is_told_from_merge_to_live(desk: Desk):
    """Waiting, rolling, live: one comment, a deployment per place, and the roll-up that `wait` reads."""
    before = desk.world.heads["main"]
    desk.report(before)
    number = desk.world.open()
    sha = desk.land(number)
    desk.write()
    assert ROLLING in desk.comment(number)
    assert desk.deployments(sha) == {"dev/rollout": State.RUNNING}
    desk.report(sha, **rolling())
    desk.say()
    desk.report(sha)
    desk.say()
    assert LIVE in desk.comment(number)
    assert desk.deployments(sha) == {
        "dev/rollout": State.SUCCESS,
        "dev/dev-1/argocd/web": State.SUCCESS,
    }


def test_environment_and_tier_come_from_the_config_repo(desk: Desk):
    """`.lockgate.yaml` at the target branch names them by path (D9)."""
    desk.world.put_file(
        ".lockgate.yaml", b"environments:\n  staging:\n    path: dev\n    tier: staging\n"
    )
    desk.report("x")
    sha = desk.land(desk.world.open())
    desk.report(sha)
    desk.say()
    assert {d.environment: d.tier for d in desk.world.deployments} == {
        "staging/rollout": "staging",
        "staging/dev-1/argocd/web": "staging",
    }


def test_pod_counts_alone_edit_nothing(desk: Desk):
    """D11: only a change of class is worth an edit."""
    desk.report("x")
    sha = desk.land(desk.world.open())
    desk.report(sha, **rolling(replicas_ready=1, replicas_desired=4))
    desk.say()
    for ready in (2, 3):
        desk.report(sha, **rolling(replicas_ready=ready, replicas_desired=4))
        touched = desk.reporter.find_touched()
        for number in touched.landed:
            desk.reporter.say_rollout(number)
        assert desk.write() == []


def test_a_rollout_costs_at_most_clusters_plus_three_comment_edits(desk: Desk):
    """D11, on a rollout through three clusters with every pod reported."""
    clusters = ["dev-1", "dev-2", "dev-3"]
    for cluster in clusters:
        desk.report("x", cluster=cluster)
    number = desk.world.open()
    sha = desk.land(number)
    desk.world.calls.clear()
    desk.write()
    for cluster in clusters:
        for ready in range(4):
            desk.report(sha, cluster=cluster, **rolling(replicas_ready=ready))
            desk.reporter.say_rollout(number)
            desk.write()
        desk.report(sha, cluster=cluster)
        desk.reporter.say_rollout(number)
        desk.write()
    assert LIVE in desk.comment(number)
    assert desk.world.calls.count("ensure_comment") <= len(clusters) + 3


def test_a_degraded_rollout_says_why_and_fails_the_roll_up(desk: Desk):
    """The class is ours: a crash loop is degraded long before the deadline (D11)."""
    desk.report("x")
    number = desk.world.open()
    sha = desk.land(number)
    problem = Problem(resource="Pod web/web-1", reason="CrashLoopBackOff", message="exit 1")
    desk.report(sha, **rolling(problems=(problem,)))
    desk.say()
    assert "Degraded" in desk.comment(number)
    assert "CrashLoopBackOff" in desk.comment(number)
    assert desk.deployments(sha)["dev/rollout"] is State.FAILED


def test_a_broken_change_stays_broken_on_its_own_merge_request(desk: Desk):
    """What a later revert mends is told there; the broken change was never live."""
    desk.report("x")
    broken = desk.world.open()
    sha = desk.land(broken)
    desk.report(sha, health=Health.DEGRADED, healthy_since=None)
    desk.say()
    mending = desk.world.open()
    mended = desk.land(mending)
    desk.report(mended)
    desk.say()
    desk.reporter.read_merge_request(broken)
    desk.write()
    assert "Degraded" in desk.comment(broken)
    assert desk.deployments(sha)["dev/rollout"] is State.FAILED
    assert LIVE in desk.comment(mending)


def test_a_live_change_stays_live_when_a_later_one_breaks(desk: Desk):
    """The last merge request that changed an Application is the one that hears of it."""
    desk.report("x")
    good = desk.world.open()
    good_sha = desk.land(good)
    desk.report(good_sha)
    desk.say()
    bad_sha = desk.land(desk.world.open())
    desk.report(bad_sha, health=Health.DEGRADED, healthy_since=None)
    desk.say()
    desk.reporter.read_merge_request(good)
    desk.write()
    assert LIVE in desk.comment(good)
    assert desk.deployments(good_sha)["dev/rollout"] is State.SUCCESS


def test_drift_and_its_healing_edit_the_last_merge_request(desk: Desk):
    """Who changed what by hand is told where the change came from, also after the rollout ended."""
    desk.report("x")
    number = desk.world.open()
    sha = desk.land(number)
    desk.report(sha)
    desk.say()
    seen = desk.world.tick()
    drift = Drift(
        resource="Deployment web/web",
        field="spec.replicas",
        manager="kubectl-scale",
        was="2",
        became="4",
        seen_at=seen,
    )
    desk.report(sha, drift=(drift,))
    desk.say()
    assert "kubectl-scale" in desk.comment(number)
    assert "and stands" in desk.comment(number)
    desk.report(sha, drift=(replace(drift, healed_at=desk.world.tick()),))
    desk.say()
    assert "put back" in desk.comment(number)
    assert len(desk.comments(number)) == 1


def test_how_long_a_change_took_is_not_moved_by_a_drift_that_was_healed(desk: Desk):
    """ "Live … after the merge" is the first time all places were live."""
    desk.report("x")
    number = desk.world.open()
    sha = desk.land(number)
    desk.report(sha)
    desk.say()
    first = desk.comment(number).split("\n### ")[1].splitlines()[0]
    assert "after the merge" in first
    seen = desk.world.tick(3600)
    drift = Drift(resource="Deployment web/web", field="spec.replicas", seen_at=seen)
    desk.report(sha, drift=(replace(drift, healed_at=desk.world.tick()),))
    desk.say()
    assert "put back" in desk.comment(number)
    assert f"### {first}" in desk.comment(number)


def test_a_heal_on_its_way_is_not_a_rollout_that_begins_again(desk: Desk):
    """A place that was live and is Progressing for a moment says nothing until it is over."""
    desk.report("x")
    number = desk.world.open()
    sha = desk.land(number)
    desk.report(sha)
    desk.say()
    before = desk.comment(number)
    desk.report(sha, health=Health.PROGRESSING)
    desk.say()
    assert desk.comment(number) == before
    desk.report(sha, health=Health.DEGRADED)
    desk.say()
    assert "Degraded" in desk.comment(number)


def test_a_merge_while_the_gate_is_being_judged_is_no_refusal(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    """Nothing is said of a gate that is gone; the merge request is looked at again at once."""
    number = desk.world.open()
    judged = desk.forge.get_review

    def merged_meanwhile(number: int) -> object:
        desk.world.land(number, desk.world.senior)
        return judged(number)

    monkeypatch.setattr(desk.forge, "get_review", merged_meanwhile)
    assert desk.reporter.read_merge_request(number) == 0
    desk.write()
    assert desk.comments(number) == []


def test_an_offline_agent_is_still_waited_for(desk: Desk):
    """The expected set is what every agent said last (D20)."""
    desk.report("x", cluster="dev-1")
    desk.report("x", cluster="dev-2", connected=False)
    number = desk.world.open()
    sha = desk.land(number)
    desk.report(sha, cluster="dev-1")
    desk.say()
    assert ROLLING in desk.comment(number)
    assert desk.deployments(sha)["dev/rollout"] is State.RUNNING


def test_other_paths_branches_and_repositories_are_not_expected(desk: Desk):
    """Only what the merge request can change is waited for."""
    desk.report("x")
    desk.report("x", app="argocd/prod", path="prod")
    desk.report("x", app="argocd/branch", target_revision="release")
    desk.report("x", app="argocd/foreign", repo="https://forge.test/other/config")
    desk.report("x", app="argocd/alike", path="de")
    sha = desk.land(desk.world.open())
    desk.report(sha)
    desk.say()
    assert set(desk.deployments(sha)) == {"dev/rollout", "dev/dev-1/argocd/web"}


def test_what_maps_to_no_application_is_canceled_after_a_grace_period(desk: Desk):
    """Not at once: an agent that was just started may be about to speak."""
    number = desk.world.open(changed_paths=["docs/index.md"])
    sha = desk.world.land(number, desk.world.senior)
    again_s = desk.reporter.read_merge_request(number)
    assert again_s is not None
    assert desk.write() == []
    desk.world.tick(again_s + 1)
    assert desk.reporter.read_merge_request(number) is None
    desk.write()
    assert desk.deployments(sha) == {"docs/rollout": State.CANCELED}
    assert "no Application is mapped" in desk.comment(number)


def test_a_later_commit_of_a_fast_forward_counts_as_the_merge_request(database: Database):
    """An Application may be touched by an earlier commit of several that landed together."""
    desk = Desk(database, merge_method="ff")
    desk.report("x")
    number = desk.world.open()
    sha = desk.land(number)
    first_commit = desk.world.new_sha("first of two")
    asked = desk.forge.list_merge_requests

    def knows_both(**query: object):
        if query.get("landed_sha") == first_commit:
            return [desk.forge.get_merge_request(number)]
        return asked(**query)  # type: ignore[arg-type]

    desk.forge.list_merge_requests = knows_both  # type: ignore[method-assign,assignment]
    desk.report(first_commit)
    desk.say()
    assert desk.deployments(sha)["dev/rollout"] is State.SUCCESS


def test_a_direct_push_that_is_live_satisfies_the_merge_request_before_it(desk: Desk):
    """A newer descendant that is live satisfies an older change (D20), also one without a merge request."""
    desk.report("x")
    sha = desk.land(desk.world.open())
    desk.report(desk.world.new_sha("push"), previous_revision=sha)
    desk.say()
    assert desk.deployments(sha)["dev/rollout"] is State.SUCCESS
