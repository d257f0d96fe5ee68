"""A report survives the wire, and its digest says when its content changed."""

import dataclasses
import datetime as dt
import typing

from hypothesis import given
from hypothesis import strategies as st

from agent.core.report import ApplicationGone, ApplicationReport
from agent.link.wire import decode_report, digest_report, encode, encode_report
from ci_bot.hub.wire import content_of, digest_of
from protos.lockgate.v1 import agent_pb2 as pb

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INSTANT = st.integers(0, 2**52).map(
    lambda micros: dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)
)


def values(hint):
    """A strategy for one field, by its type; every field is filled, so none can be forgotten."""
    if hint is str:
        return TEXT
    if hint is int:
        return st.integers(0, 2**31)
    if hint is dt.datetime:
        return INSTANT
    if hint is bool:
        return st.booleans()
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if type(None) in arguments:
        return st.none() | values(arguments[0])
    if dataclasses.is_dataclass(hint):
        fields = typing.get_type_hints(hint)
        return st.builds(hint, **{name: values(kind) for name, kind in fields.items()})
    return st.sampled_from(hint)


@given(values(ApplicationReport), st.integers(1, 2**60))
def test_a_report_comes_back_as_it_went(report, seq):
    """Every field of `agent.core.report` has a place on the wire; times to the microsecond."""
    message = encode(report, seq)
    read = pb.AgentMessage.FromString(message.SerializeToString())
    assert read.report.seq == seq
    assert decode_report(read.report) == report


@given(values(ApplicationReport), TEXT)
def test_the_digest_changes_with_the_content_and_not_with_the_number(report, message):
    """A hub that stored seq 7 and an agent at seq 9 agree on equal content."""
    assert digest_report(report) == digest_report(decode_report(encode_report(report, 9)))
    other = dataclasses.replace(report, health_message=message)
    assert (digest_report(other) == digest_report(report)) == (other == report)


@given(values(ApplicationReport), st.integers(1, 2**60))
def test_agent_and_hub_compute_the_same_digest(report, seq):
    """Or every reconnect would ask for every report again."""
    received = pb.ApplicationReport.FromString(encode_report(report, seq).SerializeToString())
    assert digest_of(content_of(received)) == digest_report(report)


def test_a_farewell_carries_its_application():
    message = encode(ApplicationGone(app="argocd/a"), 3)
    assert (message.gone.app, message.gone.seq) == ("argocd/a", 3)
