"""When the agent syncs on its own, and when it steps back (contract: auto-sync; engine 5 f)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.core.application import Automated, Retry
from agent.core.autosync import (
    HEAL_CAP,
    Attempt,
    AutoSyncFacts,
    Loss,
    NoSync,
    StartSync,
    decide_auto_sync,
    decide_heal,
    forget_losses,
    retry_delay,
)
from agent.core.states import SyncStatus

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
FACTS = AutoSyncFacts(
    automated=Automated(), sync=SyncStatus.OUT_OF_SYNC, revision="abc123", spec_digest="s"
)
DONE = Attempt(revision="abc123", spec_digest="s", succeeded=True)
SECOND = timedelta(seconds=1)


def test_a_new_revision_is_synced_once_with_the_policys_prune():
    assert decide_auto_sync(FACTS) == StartSync(prune=False, self_heal=False)
    pruning = replace(FACTS, automated=Automated(prune=True), last=replace(DONE, revision="old"))
    assert decide_auto_sync(pruning) == StartSync(prune=True, self_heal=False)


def test_a_changed_spec_is_a_new_attempt():
    facts = replace(FACTS, last=replace(DONE, spec_digest="older", succeeded=False))
    assert isinstance(decide_auto_sync(facts), StartSync)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"automated": None}, "auto-sync is off"),
        ({"has_operation": True}, "an operation is in progress"),
        ({"deleting": True}, "the Application is being deleted"),
        ({"has_errors": True}, "an error condition stands"),
        ({"sync": SyncStatus.SYNCED}, "sync status is Synced"),
        ({"sync": SyncStatus.UNKNOWN}, "sync status is Unknown"),
        ({"only_prunes_left": True}, "only prunes are left and pruning is off"),
        ({"last": DONE}, "this revision was synced and self-heal is off"),
    ],
)
def test_what_stops_auto_sync_is_said_and_is_no_error(change, why):
    assert decide_auto_sync(replace(FACTS, **change)) == NoSync(why=why)


def test_a_failed_attempt_is_not_repeated_and_stays_an_error():
    facts = replace(FACTS, last=replace(DONE, succeeded=False, message="quota"))
    found = decide_auto_sync(facts)
    assert isinstance(found, NoSync)
    assert found.error == "failed last sync attempt to abc123: quota"


def test_self_heal_acts_after_a_successful_sync():
    facts = replace(FACTS, automated=Automated(self_heal=True, prune=True), last=DONE)
    assert decide_auto_sync(facts) == StartSync(prune=True, self_heal=True)


def test_pruning_everything_needs_allow_empty():
    facts = replace(FACTS, automated=Automated(prune=True), would_prune_all=True)
    found = decide_auto_sync(facts)
    assert isinstance(found, NoSync)
    assert "allowEmpty" in found.error
    allowed = replace(facts, automated=Automated(prune=True, allow_empty=True))
    assert isinstance(decide_auto_sync(allowed), StartSync)


def loss(
    seconds: float, field: str = "spec.replicas", manager: str = "kube-controller-manager"
) -> Loss:
    return Loss(resource="Deployment a/b", field=field, manager=manager, at=NOW + seconds * SECOND)


def test_the_first_two_losses_are_healed_at_once_and_the_third_is_a_fight():
    """Engine 5 f: the same field lost to the same manager three times in ten minutes."""
    past = [loss(0), loss(60)]
    assert decide_heal([], loss(0)).delay == timedelta(0)
    assert decide_heal(past[:1], loss(60)).contested == ""
    third = decide_heal(past, loss(120))
    assert third.delay == 2 * SECOND
    assert (
        "Deployment a/b: spec.replicas is contested: lockgate and kube-controller-manager"
        in third.contested
    )
    assert "remove the field from git" in third.contested


def test_the_back_off_grows_threefold_to_its_cap():
    losses = [loss(i) for i in range(20)]
    delays = [decide_heal(losses[:i], losses[i]).delay for i in range(20)]
    assert delays[:7] == [
        0 * SECOND,
        0 * SECOND,
        2 * SECOND,
        6 * SECOND,
        18 * SECOND,
        54 * SECOND,
        162 * SECOND,
    ]
    assert delays[-1] == HEAL_CAP


def test_other_fields_other_managers_and_old_losses_are_no_fight():
    others = [loss(0, field="spec.x"), loss(1, manager="me"), loss(-700), loss(-800)]
    assert decide_heal(others, loss(2)).contested == ""


def test_a_quiet_time_ends_the_fight():
    """After 330 s without a loss the next one is healed at once."""
    past = [loss(0), loss(1), loss(2)]
    assert decide_heal(past, loss(2 + 331)).delay == timedelta(0)
    assert decide_heal(past, loss(2 + 329)).delay > timedelta(0)


def test_a_rival_nobody_names_is_described():
    past = [loss(0, manager=""), loss(1, manager="")]
    assert (
        "somebody managedFields does not name" in decide_heal(past, loss(2, manager="")).contested
    )


def test_losses_that_cannot_matter_any_more_are_forgotten():
    assert forget_losses([loss(-700), loss(-10)], NOW) == (loss(-10),)


@pytest.mark.parametrize(
    ("retry", "made", "delay"),
    [
        (Retry(limit=2), 1, 5),
        (Retry(limit=2), 2, 10),
        (Retry(limit=2), 3, None),
        (Retry(limit=0), 1, None),
        (Retry(limit=-1), 50, 180),
        (Retry(limit=-1, factor=10**9), 40, 180),
    ],
)
def test_retries_back_off_to_their_limit(retry, made, delay):
    """Limit -1 is unlimited; a huge factor does not overflow."""
    assert retry_delay(retry, made) == (None if delay is None else delay * SECOND)
