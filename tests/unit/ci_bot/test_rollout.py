"""What reports mean for a landed commit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_bot.core.facts import State
from ci_bot.core.rollout import (
    STUCK,
    AppState,
    Condition,
    Health,
    Landed,
    Operation,
    OutcomeClass,
    Problem,
    SyncStatus,
    assess,
    fold,
)

T0 = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
SHA, NEWER, OLDER = "a" * 40, "b" * 40, "c" * 40
LANDED = Landed(sha=SHA, merged_at=T0, newer=frozenset({NEWER}))


def app_state(**changes: object) -> AppState:
    live = AppState(
        cluster="prod",
        app="argocd/myapp",
        revision=SHA,
        change_revision=SHA,
        sync=SyncStatus.SYNCED,
        health=Health.HEALTHY,
        applied_at=T0 + timedelta(seconds=1),
        healthy_since=T0 + timedelta(seconds=3),
    )
    return replace(live, **changes)


def kind(**changes: object) -> OutcomeClass:
    return assess(app_state(**changes), LANDED).kind


def test_applied_and_healthy_at_the_landed_commit_is_live():
    """Live needs the change itself applied and healthy."""
    assert kind() is OutcomeClass.LIVE


def test_an_older_change_that_is_healthy_is_not_live():
    """No premature green: the old version being fine says nothing of the new one."""
    assert kind(change_revision=OLDER) is OutcomeClass.WAITING


def test_synced_and_healthy_without_an_apply_is_still_rolling():
    """Synced alone is not success."""
    assert kind(applied_at=None) is OutcomeClass.ROLLING


def test_a_newer_change_that_is_live_satisfies_an_older_one():
    outcome = assess(app_state(change_revision=NEWER), LANDED)
    assert outcome.kind is OutcomeClass.LIVE
    assert outcome.superseded


@pytest.mark.parametrize("health", [Health.PROGRESSING, Health.SUSPENDED, Health.UNKNOWN])
def test_unsettled_health_is_rolling(health: Health):
    assert kind(health=health) is OutcomeClass.ROLLING


@pytest.mark.parametrize("health", [Health.DEGRADED, Health.MISSING])
def test_broken_health_is_degraded(health: Health):
    assert kind(health=health) is OutcomeClass.DEGRADED


@pytest.mark.parametrize("reason", sorted(STUCK))
def test_a_stuck_pod_is_degraded_before_the_deadline_of_its_deployment(reason: str):
    """Decision 11: waiting longer does not help a pod that cannot start."""
    problems = (Problem(resource="Pod myapp/x", reason=reason),)
    outcome = assess(app_state(health=Health.PROGRESSING, problems=problems), LANDED)
    assert outcome.kind is OutcomeClass.DEGRADED
    assert outcome.why == f"Pod myapp/x: {reason}"


@pytest.mark.parametrize("condition", ["ComparisonError", "InvalidSpecError", "SyncError"])
def test_a_failure_without_a_revision_is_told(condition: str):
    """A render error after the merge has no synced revision, and must not look like waiting."""
    state = app_state(change_revision=OLDER, conditions=(Condition(type=condition, message="m"),))
    outcome = assess(state, LANDED)
    assert (outcome.kind, outcome.why) == (OutcomeClass.DEGRADED, f"{condition}: m")


def test_a_failed_sync_is_degraded_with_its_message():
    state = app_state(operation=Operation(phase="Failed", message="no right"), applied_at=None)
    assert assess(state, LANDED).why == "no right"


def test_an_application_synced_by_hand_is_waiting_and_says_so():
    outcome = assess(app_state(applied_at=None, sync=SyncStatus.OUT_OF_SYNC), LANDED)
    assert outcome.kind is OutcomeClass.WAITING
    assert "by hand" in outcome.why


def test_a_running_sync_is_rolling():
    running = Operation(phase="Running")
    state = {"applied_at": None, "sync": SyncStatus.OUT_OF_SYNC, "operation": running}
    assert kind(**state) is OutcomeClass.ROLLING


def test_an_agent_that_is_away_is_named_while_waiting():
    outcome = assess(app_state(change_revision=OLDER, connected=False), LANDED)
    assert "not connected" in outcome.why


def test_no_application_at_all_is_canceled():
    assert fold([], LANDED).state is State.CANCELED


STATES = st.builds(
    app_state,
    cluster=st.sampled_from(["a", "b"]),
    change_revision=st.sampled_from([SHA, NEWER, OLDER]),
    health=st.sampled_from(Health),
    sync=st.sampled_from(SyncStatus),
    applied_at=st.sampled_from([None, T0]),
)


@given(st.lists(STATES, min_size=1))
def test_success_is_said_only_when_every_place_is_live(states: list[AppState]):
    """One place that is not live keeps the roll-up from success; one degraded place makes it failed."""
    rollout = fold(states, LANDED)
    kinds = [outcome.kind for outcome in rollout.outcomes]
    assert (rollout.state is State.SUCCESS) == all(k is OutcomeClass.LIVE for k in kinds)
    assert (rollout.state is State.FAILED) == (OutcomeClass.DEGRADED in kinds)
    assert len(kinds) == len(states)


def test_live_at_is_the_last_place_to_become_healthy():
    later = T0 + timedelta(seconds=9)
    states = [app_state(), app_state(cluster="b", healthy_since=later)]
    assert fold(states, LANDED).live_at == later
    assert fold([*states, app_state(cluster="c", applied_at=None)], LANDED).live_at is None
