"""What an agent encodes is what the hub reads; bad input gives "unknown", never an exception."""

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core import report as said
from agent.core.states import Health as AgentHealth
from agent.core.states import SyncStatus as AgentSync
from agent.link.wire import digest_report, encode_report
from ci_bot.core.rollout import Health, SyncStatus
from ci_bot.hub.wire import content_of, digest_of, to_app_state
from protos.lockgate.v1 import agent_pb2 as pb

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_TIME = st.none() | st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - Hypothesis wants naive bounds
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 - likewise
    timezones=st.just(UTC),
)
_SYNC, _HEALTH = st.sampled_from(AgentSync), st.sampled_from(AgentHealth)
_RESOURCES = st.builds(
    said.ResourceReport,
    group=_TEXT,
    version=_TEXT,
    kind=_TEXT,
    namespace=_TEXT,
    name=_TEXT,
    sync=_SYNC,
    health=st.none() | _HEALTH,
    message=_TEXT,
)
_DRIFT = st.builds(
    said.DriftReport,
    resource=_TEXT,
    field=_TEXT,
    manager=_TEXT,
    was=_TEXT,
    became=_TEXT,
    seen_at=_TIME,
    healed_at=_TIME,
)
_REPORTS = st.builds(
    said.ApplicationReport,
    app=_TEXT,
    repo=_TEXT,
    path=_TEXT,
    target_revision=_TEXT,
    revision=_TEXT,
    change_revision=_TEXT,
    previous_revision=_TEXT,
    sync=_SYNC,
    health=_HEALTH,
    health_message=_TEXT,
    operation=st.none() | st.builds(said.Operation, phase=_TEXT, message=_TEXT, revision=_TEXT),
    resources=st.lists(_RESOURCES, max_size=3).map(tuple),
    drift=st.lists(_DRIFT, max_size=3).map(tuple),
    problems=st.lists(
        st.builds(said.Problem, resource=_TEXT, reason=_TEXT, message=_TEXT), max_size=3
    ).map(tuple),
    held=st.lists(_TEXT, max_size=3).map(tuple),
    extra=st.lists(_TEXT, max_size=3).map(tuple),
    observed_at=_TIME,
    healthy_since=_TIME,
    applied_at=_TIME,
    replicas_ready=st.integers(0, 2**32 - 1),
    replicas_desired=st.integers(0, 2**32 - 1),
)
SAME = (
    "app",
    "repo",
    "path",
    "target_revision",
    "revision",
    "change_revision",
    "previous_revision",
    "health_message",
    "held",
    "extra",
    "observed_at",
    "healthy_since",
    "applied_at",
    "replicas_ready",
    "replicas_desired",
)


@given(_REPORTS)
def test_the_hub_reads_what_the_agent_said(report: said.ApplicationReport):
    """Both ends of the wire are written apart; nothing is lost or mixed up between them."""
    state = to_app_state(content_of(encode_report(report, 5)), "dev", connected=True)
    assert {name: getattr(state, name) for name in SAME} == {
        name: getattr(report, name) for name in SAME
    }
    assert (state.cluster, state.connected) == ("dev", True)
    assert (state.sync.value, state.health.value) == (report.sync.value, report.health.value)
    for ours, theirs in zip(state.resources, report.resources, strict=True):
        shared = ("kind", "namespace", "name", "message")
        assert [getattr(ours, n) for n in shared] == [getattr(theirs, n) for n in shared]
        assert ours.sync.value == theirs.sync.value
        assert (ours.health and ours.health.value) == (theirs.health and theirs.health.value)
    for drift, seen in zip(state.drift, report.drift, strict=True):
        shared = ("resource", "field", "manager", "was", "became", "seen_at", "healed_at")
        assert [getattr(drift, n) for n in shared] == [getattr(seen, n) for n in shared]
    assert [(p.resource, p.reason, p.message) for p in state.problems] == [
        (p.resource, p.reason, p.message) for p in report.problems
    ]
    assert (state.operation is None) == (report.operation is None)


@given(_REPORTS, st.integers(0, 2**63))
def test_both_ends_compute_the_same_digest(report: said.ApplicationReport, seq: int):
    """A reconnect without news costs one digest and no resync."""
    assert digest_of(content_of(encode_report(report, seq))) == digest_report(report)


def test_the_number_is_no_part_of_the_content():
    """The same state sent again under another number is the same state."""
    one, two = (pb.ApplicationReport(seq=seq, app="argocd/web") for seq in (1, 2))
    assert content_of(one) == content_of(two)
    assert (one.seq, two.seq) == (1, 2)
    assert digest_of(b"x") == hashlib.sha256(b"x").digest()


@pytest.mark.parametrize("value", [0, 99, -5])
def test_a_word_of_a_newer_agent_reads_as_unknown(value: int):
    """H8: unknown enum values neither fail nor pass for something good."""
    report = pb.ApplicationReport(app="argocd/web")
    raw = report.SerializeToString()
    # Fields 11 (sync) and 12 (health) as varints, whatever this version knows of them.
    number = value & (2**64 - 1)
    encoded = b""
    while number >= 0x80:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    encoded += bytes([number])
    state = to_app_state(raw + b"\x58" + encoded + b"\x60" + encoded, "dev", connected=False)
    assert (state.sync, state.health) == (SyncStatus.UNKNOWN, Health.UNKNOWN)


def test_an_instant_no_calendar_knows_is_left_out():
    """An agent's clock, or malice, must not break the comment of everybody else."""
    report = pb.ApplicationReport(app="argocd/web")
    report.applied_at.seconds = 2**62
    report.observed_at.seconds = 1_790_000_000
    report.observed_at.nanos = -7
    state = to_app_state(report.SerializeToString(), "dev", connected=True)
    assert state.applied_at is None
