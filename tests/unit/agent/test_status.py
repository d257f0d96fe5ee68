"""The status in Argo CD's field names, and conditions whose times mean something."""

from datetime import UTC, datetime, timedelta

from agent.api.application import parse_application
from agent.api.conditions import Condition, parse_time, report_conditions, update_conditions
from agent.core.health.result import HealthResult
from agent.core.report import Operation, ResourceReport
from agent.core.states import Health, SyncStatus
from agent.core.status import (
    HistoryEntry,
    StatusFacts,
    SyncedResource,
    build_status,
    is_same_status,
    next_history,
    summary_images,
    timestamp,
)

NOW = datetime(2026, 11, 24, 9, 30, 1, 500, tzinfo=UTC)
TEXT = "2026-11-24T09:30:01Z"
APPLICATION = parse_application(
    {
        "metadata": {"name": "shop", "namespace": "argocd"},
        "spec": {
            "source": {"repoURL": "https://git.example/x.git", "path": "dev"},
            "destination": {"name": "in-cluster", "namespace": "prod"},
        },
    }
)
SOURCE = {"repoURL": "https://git.example/x.git", "path": "dev", "targetRevision": "HEAD"}


def facts(**changes) -> StatusFacts:
    base = {
        "application": APPLICATION,
        "sync": SyncStatus.SYNCED,
        "revision": "abc",
        "health": HealthResult(health=Health.HEALTHY),
        "health_changed_at": NOW,
        "reconciled_at": NOW,
        "controller_namespace": "lockgate-system",
    }
    return StatusFacts(**{**base, **changes})


def test_a_small_status_has_only_what_is_known():
    assert build_status(facts()) == {
        "sync": {
            "status": "Synced",
            "revision": "abc",
            "comparedTo": {
                "source": SOURCE,
                "destination": {"server": "https://kubernetes.default.svc", "namespace": "prod"},
            },
        },
        "health": {"status": "Healthy", "lastTransitionTime": TEXT},
        "reconciledAt": TEXT,
        "sourceType": "Directory",
        "controllerNamespace": "lockgate-system",
    }


DEPLOYMENT = {
    "group": "apps",
    "version": "v1",
    "kind": "Deployment",
    "namespace": "prod",
    "name": "x",
}


def test_a_full_status_is_spelled_as_argo_cds_tools_read_it():
    status = build_status(
        facts(
            sync=SyncStatus.OUT_OF_SYNC,
            resources=[
                ResourceReport(
                    **DEPLOYMENT, sync=SyncStatus.SYNCED, health=Health.DEGRADED, message="no"
                ),
                ResourceReport(
                    **{**DEPLOYMENT, "group": "", "kind": "ConfigMap"}, sync=SyncStatus.OUT_OF_SYNC
                ),
            ],
            requires_pruning=frozenset({("", "ConfigMap", "prod", "x")}),
            conditions=[{"type": "SyncError", "message": "m"}],
            operation=Operation(
                phase="Succeeded",
                message="done",
                revision="abc",
                started_at=NOW,
                finished_at=NOW,
                automated=True,
            ),
            operation_results=[
                SyncedResource(**{**DEPLOYMENT, "group": ""}, status="Synced", message="created")
            ],
            retry_count=2,
            images=["b", "a", "b"],
            history=[
                HistoryEntry(
                    id=3, revision="abc", deployed_at=NOW, deploy_started_at=NOW, username="me"
                )
            ],
        )
    )
    assert status["resources"] == [
        {**DEPLOYMENT, "status": "Synced", "health": {"status": "Degraded", "message": "no"}},
        {
            "version": "v1",
            "kind": "ConfigMap",
            "namespace": "prod",
            "name": "x",
            "status": "OutOfSync",
            "requiresPruning": True,
        },
    ]
    assert status["operationState"] == {
        "operation": {"initiatedBy": {"automated": True}, "sync": {"revision": "abc"}},
        "phase": "Succeeded",
        "message": "done",
        "startedAt": TEXT,
        "finishedAt": TEXT,
        "retryCount": 2,
        "syncResult": {
            "revision": "abc",
            "source": SOURCE,
            "resources": [
                {
                    **DEPLOYMENT,
                    "group": "",
                    "status": "Synced",
                    "message": "created",
                    "syncPhase": "Sync",
                }
            ],
        },
    }
    assert status["history"] == [
        {
            "id": 3,
            "revision": "abc",
            "source": SOURCE,
            "deployedAt": TEXT,
            "deployStartedAt": TEXT,
            "initiatedBy": {"username": "me"},
        }
    ]
    assert status["summary"] == {"images": ["a", "b"]}
    assert status["conditions"] == [{"type": "SyncError", "message": "m"}]


def test_what_the_schema_requires_of_an_operation_is_there_though_empty():
    state = build_status(facts(operation=Operation(phase="Running")))["operationState"]
    assert (state["operation"], state["syncResult"]["revision"], state["phase"]) == (
        {},
        "",
        "Running",
    )
    assert "finishedAt" not in state


def test_a_newer_reconcile_time_alone_is_worth_no_write():
    """D46."""
    older, newer = (
        build_status(facts()),
        build_status(facts(reconciled_at=NOW + timedelta(hours=1))),
    )
    assert older != newer
    assert is_same_status(older, newer)
    assert not is_same_status(older, build_status(facts(revision="def")))


def test_history_is_numbered_and_bounded():
    entry = HistoryEntry(id=0, revision="r", deployed_at=NOW, deploy_started_at=NOW)
    history: tuple[HistoryEntry, ...] = ()
    for _ in range(4):
        history = next_history(history, entry, 3)
    assert [item.id for item in history] == [1, 2, 3]
    assert next_history(history, entry, 0) == ()


def test_instants_are_written_in_utc_with_whole_seconds():
    assert (timestamp(NOW), timestamp(None)) == (TEXT, "")


def test_images_are_summed_up_over_objects():
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": name}]}}
        for name in "bab"
    ]
    assert summary_images(pods) == ("a", "b")


def test_an_unchanged_condition_keeps_its_time_and_a_changed_one_does_not():
    first = update_conditions([], [Condition(type="SyncError", message="a")], NOW)
    assert first == [{"type": "SyncError", "message": "a", "lastTransitionTime": TEXT}]
    later = NOW + timedelta(minutes=1)
    assert update_conditions(first, [Condition(type="SyncError", message="a")], later) == first
    changed = update_conditions(first, [Condition(type="SyncError", message="b")], later)
    assert changed[0]["lastTransitionTime"] == "2026-11-24T09:31:01Z"
    assert update_conditions(first, [], later) == []


def test_conditions_of_one_type_are_one_and_types_are_in_order():
    stand = [
        Condition(type=kind, message=text)
        for kind, text in (("Z", "1"), ("A", "x"), ("Z", "2"), ("Z", "1"))
    ]
    assert [(c["type"], c["message"]) for c in update_conditions([], stand, NOW)] == [
        ("A", "x"),
        ("Z", "1; 2"),
    ]


def test_conditions_are_reported_with_their_times():
    (found,) = report_conditions([{"type": "T", "message": "m", "lastTransitionTime": TEXT}])
    assert (found.type, found.message) == ("T", "m")
    assert found.last_transition == NOW.replace(microsecond=0)
    assert parse_time("2026-11-24T09:30:01") == NOW.replace(microsecond=0)
    assert (parse_time("soon"), parse_time(None)) == (None, None)
