"""A revert of a change whose sync failed has nothing to apply, and is live all the same."""

from datetime import UTC, datetime

import pytest

from ci_bot.core.rollout import (
    AppState,
    Health,
    Landed,
    Operation,
    OutcomeClass,
    SyncStatus,
    assess,
)

BROKEN, REVERT = "a" * 40, "b" * 40
AT = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("failed_at", "expected"),
    [
        (BROKEN, OutcomeClass.LIVE),
        (REVERT, OutcomeClass.DEGRADED),
        ("", OutcomeClass.DEGRADED),  # an agent that does not say: the careful answer
    ],
)
def test_only_a_failure_of_this_revision_counts(failed_at: str, expected: OutcomeClass):
    state = AppState(
        cluster="c",
        app="argocd/a",
        revision=REVERT,
        change_revision=REVERT,
        sync=SyncStatus.SYNCED,
        health=Health.HEALTHY,
        applied_at=AT,
        operation=Operation(phase="Failed", message="no", revision=failed_at),
    )
    assert assess(state, Landed(sha=REVERT)).kind is expected
