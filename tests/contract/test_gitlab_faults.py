"""GitLab's adapter when GitLab, the network or the token misbehaves (F1 to F6, A11, and `sha` on the wire)."""

import time

import pytest

from ci_bot.core.facts import MergeResult
from ci_bot.errors import (
    ForgeAuthError,
    ForgeError,
    ForgeNotFoundError,
    ForgeTimeoutError,
    ForgeUnavailableError,
)
from ci_bot.forges.registry import ForgeSettings, open_forge
from tests.forge_harness import GitLabHarness

MARKER = "<!-- lockgate:0123 -->"


@pytest.fixture
def world(forge) -> GitLabHarness:
    return GitLabHarness(forge)


def test_the_expected_head_is_on_the_wire(world: GitLabHarness):
    """A2: python-gitlab has no parameter for it; what counts is what GitLab receives."""
    number, senior = world.open(), world.forge("senior")
    head = senior.get_merge_request(number).head_sha
    senior.merge(number, head_sha=head)
    (sent,) = world.sandbox.requests.matching("PUT", "/merge$")
    assert sent.query["sha"] == head


@pytest.mark.parametrize("after", ["1", "date"])
def test_a_named_wait_is_kept_and_nothing_is_sent_earlier(world: GitLabHarness, after: str):
    """F1: seconds, or an HTTP date that the library itself would crash on."""
    number, hub = world.open(), world.forge("lockgate-hub")
    hub.get_project()
    # A date has whole seconds: up to one of them may be gone when it arrives.
    named = after if after == "1" else _http_date(time.time() + 2)
    world.sandbox.faults.add("rate_limit", path=f"/merge_requests/{number}$", retry_after=named)
    begun = time.monotonic()
    hub.get_merge_request(number)
    assert time.monotonic() - begun >= 0.99
    sent = world.sandbox.requests.matching("GET", f"/merge_requests/{number}$")
    assert [each.status for each in sent] == [429, 200]


def _http_date(at: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(at))


@pytest.mark.parametrize("after", ["3600", "Wed, 21 Oct 2099 07:28:00 GMT", None])
def test_a_long_or_unnamed_wait_is_passed_on_not_slept(world: GitLabHarness, after: str | None):
    """F1: waiting is bounded; the caller learns how long, and the next call sends nothing earlier."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.sandbox.faults.add("rate_limit", path=f"/merge_requests/{number}$", retry_after=after)
    with pytest.raises(ForgeUnavailableError) as caught:
        hub.get_merge_request(number)
    assert (caught.value.retry_after_s or 0) >= 59
    before = len(world.sandbox.requests.matching())
    with pytest.raises(ForgeUnavailableError):
        hub.get_merge_request(number)
    assert len(world.sandbox.requests.matching()) == before


@pytest.mark.parametrize("kind", ["bad_gateway", "lost_reply"])
def test_a_write_that_happened_without_a_reply_is_found_again(world: GitLabHarness, kind: str):
    """F2: one POST on the wire, one comment."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.sandbox.faults.add(kind, method="POST", path="/notes$")
    comment = hub.ensure_comment(number, MARKER, f"{MARKER}\none")
    assert comment.body == f"{MARKER}\none"
    assert len(world.sandbox.requests.matching("POST", "/notes$")) == 1
    assert len(world.comments(number)) == 1


def test_a_write_that_did_not_happen_is_an_error_not_a_second_write(world: GitLabHarness):
    """F2: it is for the caller to come back; the outbox does."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.sandbox.faults.add("refused", method="POST", path="/notes$")
    with pytest.raises(ForgeTimeoutError):
        hub.ensure_comment(number, MARKER, f"{MARKER}\none")
    assert world.comments(number) == []


@pytest.mark.parametrize(("kind", "seconds"), [("hang", 30), ("slow_body", 0.3)])
def test_a_forge_that_hangs_or_trickles_is_left(world: GitLabHarness, kind: str, seconds: float):
    """F3: the library has no time-out; a body of one byte at a time never trips one between bytes."""
    number, hub = world.open(), world.forge("lockgate-hub", timeout_s=0.5)
    world.sandbox.faults.add(kind, path=f"/merge_requests/{number}$", seconds=seconds, times=9)
    begun = time.monotonic()
    with pytest.raises(ForgeTimeoutError):
        hub.get_merge_request(number)
    assert time.monotonic() - begun < 12


@pytest.mark.parametrize("kind", ["html", "truncated", "empty"])
def test_an_answer_that_is_no_answer_is_named(world: GitLabHarness, kind: str):
    """F4."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.sandbox.faults.add(kind, path=f"/merge_requests/{number}$", times=9)
    with pytest.raises(ForgeUnavailableError) as caught:
        hub.get_merge_request(number)
    assert "Traceback" not in caught.value.message


@pytest.mark.parametrize("field", ["sha", "state", "author", "iid", "source_branch"])
def test_a_field_that_is_null_is_an_error_of_ours(world: GitLabHarness, field: str):
    """F4: never a TypeError from somewhere inside; a deleted author is no error."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.sandbox.faults.add("patch", path=f"/merge_requests/{number}$", patch={field: None})
    try:
        merge_request = hub.get_merge_request(number)
    except ForgeError as err:
        assert err.reason == "ForgeUnavailable"  # noqa: PT017 - not raising is right for some
    else:
        assert field in {"author", "source_branch", "sha"}
        assert merge_request.number == number


def test_a_state_we_do_not_know_is_an_error_of_ours(world: GitLabHarness):
    number, hub = world.open(), world.forge("lockgate-hub")
    world.sandbox.faults.add("patch", path=f"/merge_requests/{number}$", patch={"state": "novel"})
    with pytest.raises(ForgeUnavailableError):
        hub.get_merge_request(number)


@pytest.mark.parametrize("how", ["revoke", "expire"])
def test_a_token_that_is_no_longer_good_is_told_once_with_what_to_do(
    world: GitLabHarness, how: str
):
    """F5."""
    number, hub = world.open(), world.forge("lockgate-hub")
    getattr(world.sandbox, how)("lockgate-hub")
    with pytest.raises(ForgeAuthError) as caught:
        hub.get_merge_request(number)
    assert "scope api" in caught.value.hint


def test_a_token_with_too_little_scope_is_told_with_the_scope(world: GitLabHarness):
    """F5."""
    number, hub = world.open(), world.forge("lockgate-hub")
    world.sandbox.narrow("lockgate-hub", "read_api")
    with pytest.raises(ForgeAuthError) as caught:
        hub.ensure_comment(number, MARKER, f"{MARKER}\none")
    assert "scope api" in caught.value.hint


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/api/v4/user", "https://evil.example/"])
def test_no_redirect_is_followed(world: GitLabHarness, location: str):
    """F6: the token travels in a header that a redirect would carry along."""
    hub = world.forge("lockgate-hub")
    world.sandbox.faults.add("redirect", path="/projects/", location=location)
    with pytest.raises(ForgeError, match="redirects"):
        hub.get_project()


def test_a_merge_at_another_head_is_an_alarm(world: GitLabHarness):
    """A11: merged, but not what was judged."""
    number, senior = world.open(), world.forge("senior")
    judged = senior.get_merge_request(number).head_sha
    head = world.push(number, "lockgate-bot")
    assert senior.merge(number, head_sha=head).result is MergeResult.MERGED
    with pytest.raises(ForgeError, match="not at"):
        senior.merge(number, head_sha=judged)


def test_a_server_error_on_reading_is_tried_again_a_few_times(world: GitLabHarness):
    number, hub = world.open(), world.forge("lockgate-hub")
    world.sandbox.faults.add("status", path=f"/merge_requests/{number}$", status=502, times=2)
    assert hub.get_merge_request(number).number == number


def test_a_certificate_nobody_vouches_for_is_refused(world: GitLabHarness):
    sandbox = world.sandbox
    stranger = open_forge(
        ForgeSettings(url=sandbox.url, project="group/config", token=sandbox.token("senior"))
    )
    with pytest.raises(ForgeUnavailableError, match="not trusted") as caught:
        stranger.get_project()
    assert "--ca-file" in caught.value.hint


def test_a_project_the_token_cannot_see_is_not_there(world: GitLabHarness):
    sandbox = world.sandbox
    other = open_forge(
        ForgeSettings(
            url=sandbox.url,
            project="group/other",
            token=sandbox.token("senior"),
            ca_file=str(sandbox.ca_file),
        )
    )
    with pytest.raises(ForgeNotFoundError):
        other.get_project()
