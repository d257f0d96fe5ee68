"""Webhook deliveries: authentic or refused, and never a crash."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ci_bot.forges.webhooks import EventKind, WebhookError, parse, verify

SECRET = b"s3cret"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"X-Gitlab-Token", b"wrong")],
        [(b"X-Gitlab-Token", b"")],
        [(b"X-Gitlab-Token", SECRET), (b"x-gitlab-token", SECRET)],
        [(b"X-Gitlab-Token", SECRET), (b"x-gitlab-token", b"wrong")],
        [(b"X-Hub-Signature", b"sha1=abc")],
        [(b"X-Gitlab-Token", b"\xff\xfe")],
    ],
)
def test_a_delivery_without_exactly_our_token_is_refused(headers: list[tuple[bytes, bytes]]):
    """W1."""
    with pytest.raises(WebhookError):
        verify(headers, SECRET)


def test_an_empty_secret_accepts_nothing():
    """W1: an empty secret and an empty header are equal, and must not match."""
    with pytest.raises(WebhookError, match="no webhook secret"):
        verify([(b"X-Gitlab-Token", b"")], b"")


def test_the_right_token_is_accepted_in_any_case_of_its_name():
    verify([(b"X-GITLAB-TOKEN", SECRET)], SECRET)


def load(shared: Path, name: str) -> dict[str, object]:
    return json.loads((shared / "contracts/webhooks/gitlab" / name).read_text(encoding="utf-8"))


def test_gitlabs_push_names_project_ref_and_tip(shared: Path):
    payload = load(shared, "docs.push.json")
    event = parse([(b"X-Gitlab-Event-UUID", b"u1")], json.dumps(payload).encode())
    assert event.kind is EventKind.PUSH
    assert (event.project_id, event.project_path) == ("15", "mike/diaspora")
    assert (event.ref, event.sha) == ("refs/heads/master", payload["after"])
    assert event.delivery == "u1"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("docs.merge_request.json", EventKind.MERGE_REQUEST),
        ("docs.note_merge_request.json", EventKind.NOTE),
        ("gogitlab.merge_request.json", EventKind.MERGE_REQUEST),
        ("gitlab4j.note-merge-request-event.json", EventKind.NOTE),
    ],
)
def test_gitlabs_merge_request_events_name_the_merge_request(
    shared: Path, name: str, kind: EventKind
):
    event = parse([], json.dumps(load(shared, name)).encode())
    assert event.kind is kind
    assert event.number > 0
    assert event.project_path


def test_every_sample_of_gitlab_is_read(shared: Path):
    """W7: an event we do not know is no error, or GitLab would turn the webhook off."""
    for sample in sorted((shared / "contracts/webhooks/gitlab").glob("*.json")):
        parse([], sample.read_bytes())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_field_of_any_shape_crashes_the_parser(shared: Path, data: st.DataObject):
    """W4: every field dropped, nulled, retyped or emptied gives an event or WebhookError."""
    name = data.draw(st.sampled_from(["docs.push.json", "docs.merge_request.json"]))
    payload = copy.deepcopy(load(shared, name))
    holder = payload
    for key in data.draw(st.sampled_from(_paths(payload)))[:-1]:
        holder = holder[key]
    key = data.draw(st.sampled_from(sorted(holder, key=str)))
    if data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(JSON)
    parse([], json.dumps(payload).encode())


def _paths(value: object, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict) or not value:
        return []
    here = [(*prefix, key) for key in value]
    return here + [p for key, inner in value.items() for p in _paths(inner, (*prefix, key))]


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_refused(body: bytes):
    try:
        parse([], body)
    except WebhookError:
        return


def test_deep_nesting_is_refused_not_a_crash():
    with pytest.raises(WebhookError):
        parse([], b"[" * 200_000)
