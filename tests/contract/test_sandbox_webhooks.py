"""Webhooks of the stand-in: GitLab's documented payloads and headers, tries again, and a log."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gitlab
import pytest

from sandbox.forge.seed import DEPLOYMENT
from tests.eventually import eventually
from tests.gitlab_contract import shape

SAMPLES = {
    "push": ("docs.push", ("gogitlab.push", "gitlab4j.push-event")),
    "merge_request": (
        "docs.merge_request",
        ("gogitlab.merge_request", "gitlab4j.merge-request-event"),
    ),
    "note": (
        "docs.note_merge_request",
        ("gogitlab.note_merge_request", "gitlab4j.note-merge-request-event"),
    ),
}
# In no sample of ours, with the page that documents them.
OUTSIDE = {
    "push": {
        "message": "an annotated tag's message, sent as null (webhook_events, Push events)",
        "push_options": "sent empty (webhook_events, Push events)",
    },
    "merge_request": {},
    "note": {},
}


def wait_for(condition: Callable[[], bool], what: str) -> None:
    def check() -> None:
        assert condition(), f"still waiting for {what}"

    eventually(check, deadline_s=10)


class Receiver:
    """An HTTP server that keeps what it got and answers what it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], dict]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((dict(self.headers), json.loads(body)))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep the test's output quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def kinds(self) -> list[str]:
        return [body["object_kind"] for _, body in self.got]

    def actions(self) -> list[str]:
        return [
            body["object_attributes"]["action"]
            for _, body in self.got
            if body["object_kind"] == "merge_request"
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    started = Receiver()
    yield started
    started.close()


@pytest.fixture
def hooked(forge, receiver):
    """A forge whose project has a hook, registered through the API."""
    client = gitlab.Gitlab(forge.url, private_token=forge.token("senior"), ssl_verify=forge.ca_file)
    client.projects.get(1, lazy=True).hooks.create(
        {
            "url": receiver.url,
            "token": "s3cret",
            "push_events": True,
            "merge_requests_events": True,
            "note_events": True,
        }
    )
    return forge


def live_through(forge) -> None:
    """Push, open, comment, push again, approve, merge."""
    bot = forge.as_user("lockgate-bot")
    bot.push("lockgate/dev/app", {"dev/deployment.yaml": DEPLOYMENT.replace("1.0", "1.2")})
    iid = bot.open("lockgate/dev/app", "Bump", labels=("image",))
    bot.update(iid, title="Bump app")
    bot.comment(iid, "hello")
    bot.push("lockgate/dev/app", {"dev/new.yaml": "a: 1\n"})
    senior = forge.as_user("senior")
    senior.approve(iid)
    senior.unapprove(iid)
    senior.merge(iid)


def test_each_step_is_told_in_order(hooked, receiver):
    """A merge tells of the merge request first and then of the push to the target."""
    live_through(hooked)
    wait_for(lambda: len(receiver.got) == 10, "ten deliveries")
    assert receiver.actions() == ["open", "update", "update", "approved", "unapproved", "merge"]
    assert receiver.kinds().count("push") == 3
    assert receiver.kinds().count("note") == 1
    assert receiver.kinds()[-2:] == ["merge_request", "push"]


@pytest.mark.shared
@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_payloads_have_the_documented_keys(hooked, receiver, shared, kind):
    """At every depth: nothing GitLab does not document, and all that its page shows."""
    live_through(hooked)
    wait_for(lambda: len(receiver.got) == 10, "ten deliveries")
    sent: set[str] = set()
    for body in (body for _, body in receiver.got if body["object_kind"] == kind):
        sent |= shape(body)
    folder = shared / "contracts" / "webhooks" / "gitlab"
    own, others = SAMPLES[kind]
    documented = shape(json.loads((folder / f"{own}.json").read_text()))
    known = documented.union(
        *(shape(json.loads((folder / f"{name}.json").read_text())) for name in others)
    )
    free = ("changes.", "assignees[]", "reviewers[]", "object_attributes.assignee.")
    unknown = {p for p in sent - known - set(OUTSIDE[kind]) if not p.startswith(free)}
    missing = {p for p in documented - sent if not p.startswith((*free, "merge_request.assignee."))}
    assert unknown == set()
    assert missing == set()


def test_the_headers_are_gitlabs(hooked, receiver):
    """Token, event, and one key per delivery."""
    live_through(hooked)
    wait_for(lambda: len(receiver.got) == 10, "ten deliveries")
    headers = [headers for headers, _ in receiver.got]
    assert {h["X-Gitlab-Token"] for h in headers} == {"s3cret"}
    assert {h["X-Gitlab-Event"] for h in headers} == {
        "Push Hook",
        "Merge Request Hook",
        "Note Hook",
    }
    assert len({h["Idempotency-Key"] for h in headers}) == 10
    assert all(h["webhook-id"] == h["X-Gitlab-Event-UUID"] for h in headers)


def test_a_failed_delivery_is_tried_again_under_the_same_key(hooked, receiver):
    """A receiver that was down for a moment misses nothing, and can tell a repetition."""
    receiver.answers = [500, 503]
    hooked.as_user("lockgate-bot").push("lockgate/dev/app", {"a": "1"})
    wait_for(lambda: len(receiver.got) == 3, "three tries")
    assert len({headers["Idempotency-Key"] for headers, _ in receiver.got}) == 1
    wait_for(lambda: hooked.webhooks.deliveries[0].done, "the end of the delivery")
    assert hooked.webhooks.deliveries[0].statuses == [500, 503, 200]


def test_dropped_deliveries_are_lost_and_logged(hooked, receiver):
    """`drop` stands for a broken network: nothing arrives, the log knows."""
    hooked.webhooks.drop = True
    hooked.as_user("lockgate-bot").push("lockgate/dev/app", {"a": "1"})
    wait_for(lambda: hooked.webhooks.deliveries[0].done, "the end of the delivery")
    assert receiver.got == []
    assert hooked.webhooks.deliveries[0].statuses == [0]
