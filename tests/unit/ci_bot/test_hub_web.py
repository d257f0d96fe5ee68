"""The webhook receiver, spoken to in ASGI: no socket, a real database."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ci_bot.forges.webhooks import ForgeEvent
from ci_bot.hub import web
from ci_bot.hub.ledger import Ledger
from ci_bot.hub.projects import HubProject, Projects
from ci_bot.store import inbox
from ci_bot.store.database import Database

SECRET = "a webhook secret"
TOKEN = (b"x-gitlab-token", SECRET.encode())


def push(project: str = "group/config", sha: str = "a" * 40) -> bytes:
    said = {
        "object_kind": "push",
        "ref": "refs/heads/main",
        "after": sha,
        "project": {"id": 7, "path_with_namespace": project},
    }
    return json.dumps(said).encode()


class Receiver:
    """The public application and what it told the rest of the hub."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ledger = Ledger(database)
        self.arrived: list[ForgeEvent] = []
        self.read = 0

    def _project(self, path: str, secret: str | None) -> HubProject:
        return HubProject(
            path=path,
            repositories=(f"https://forge.test/{path}.git",),
            open_forge=lambda _ids: pytest.fail("a delivery opened the forge"),
            webhook_secret=None if secret is None else SecretStr(secret),
        )

    def make_app(self) -> Any:
        projects = Projects(
            (
                self._project("group/config", SECRET),
                self._project("other/config", "another secret"),
                self._project("quiet/config", None),
            )
        )
        return web.make_public_app(
            web.Webhooks(projects, self.ledger, lambda _p, event, _d: self.arrived.append(event))
        )

    async def _call(self, headers: Sequence[tuple[bytes, bytes]], parts: Sequence[bytes]) -> int:
        app, waiting = self.make_app(), [*parts]
        status = 0

        async def receive() -> dict[str, Any]:
            if not waiting:
                return {"type": "http.request", "body": b"", "more_body": False}
            part = waiting.pop(0)
            self.read += len(part)
            return {"type": "http.request", "body": part, "more_body": bool(waiting)}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)

        await app(scope_of(headers), receive, send)
        return status

    def post(self, body: bytes | Sequence[bytes], *headers: tuple[bytes, bytes]) -> int:
        parts = [body] if isinstance(body, bytes) else body
        return asyncio.run(self._call(headers, parts))

    def rows(self, project: str = "group/config") -> list[inbox.Delivery]:
        with self.database.read() as connection:
            return inbox.list_undone(connection, project)


def scope_of(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": "/webhooks",
        "raw_path": b"/webhooks",
        "query_string": b"",
        "headers": [*headers],
    }


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    database = Database(tmp_path / "hub.db")
    database.migrate()
    made = Receiver(database)
    yield made
    made.ledger.close()
    database.close()


def delivery(number: int = 1) -> tuple[bytes, bytes]:
    return (b"x-gitlab-event-uuid", f"delivery-{number}".encode())


def test_an_authentic_delivery_is_stored_and_told_before_it_is_answered(receiver: Receiver):
    """Durable first: after the 2xx the forge will not say it again (W7)."""
    assert receiver.post(push(), TOKEN, delivery()) == 200
    assert [row.sha for row in receiver.rows()] == ["a" * 40]
    assert [event.ref for event in receiver.arrived] == ["refs/heads/main"]


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"x-gitlab-token", b"wrong"),),
        ((b"x-gitlab-token", b""),),
        (TOKEN, TOKEN),
        ((b"x-hub-signature", b"sha1=0000"),),
        ((b"x-gitlab-token", b"another secret"),),
    ],
)
def test_what_is_not_authentic_for_its_project_is_refused(
    receiver: Receiver, headers: Sequence[tuple[bytes, bytes]]
):
    """W1: missing, wrong, empty, doubled, or another project's secret."""
    assert receiver.post(push(), *headers, delivery()) == 401
    assert receiver.rows() == []
    assert receiver.arrived == []


def test_a_body_without_the_secret_is_not_read(receiver: Receiver):
    """W3: nobody makes the hub hold bodies before showing a secret."""
    assert receiver.post([b"x" * 65536] * 1000) == 401
    assert receiver.read == 0


def test_a_body_without_end_is_cut_off_while_it_is_read(receiver: Receiver):
    """W3: chunked and endless; memory stays at the limit."""
    assert receiver.post([b"x" * 65536] * 1000, TOKEN) == 413
    assert receiver.read <= web.BODY_LIMIT + 65536


def test_a_thousand_large_deliveries_at_once_hold_only_so_many_bodies(receiver: Receiver):
    """W3: memory is flat, whatever arrives in parallel and with the right secret."""
    app, held, most, answers = receiver.make_app(), set(), 0, []
    part = b"x" * 524_288

    async def deliver(number: int) -> None:
        nonlocal most

        async def receive() -> dict[str, Any]:
            nonlocal most
            held.add(number)
            most = max(most, len(held))
            await asyncio.sleep(0)
            return {"type": "http.request", "body": part, "more_body": True}

        async def send(message: Any) -> None:
            held.discard(number)
            if "status" in message:
                answers.append(message["status"])

        await app(scope_of([TOKEN]), receive, send)

    async def flood() -> None:
        await asyncio.gather(*(deliver(number) for number in range(1000)))

    asyncio.run(flood())
    assert answers == [413] * 1000
    assert 1 < most <= web.READERS


def test_a_body_that_trickles_is_cut_off(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    """W3: one byte now and then does not hold a place for ever."""
    monkeypatch.setattr(web, "BODY_DEADLINE_S", 0.2)
    answers = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        answers.append(message.get("status"))

    async def trickle() -> None:
        await asyncio.wait_for(receiver.make_app()(scope_of([TOKEN]), receive, send), 5)

    asyncio.run(trickle())
    assert answers[0] == 408


@pytest.mark.parametrize("length", [b"10000000000", b"-1", b"many", b"0x10"])
def test_a_body_that_is_announced_too_large_is_not_read(receiver: Receiver, length: bytes):
    """W3: ten gigabytes, or no number at all."""
    assert receiver.post(push(), TOKEN, (b"content-length", length)) == 413
    assert receiver.read == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_delivery_is_refused_without_an_error_of_ours(receiver: Receiver, body: bytes):
    """W4: never a 5xx for what somebody sends."""
    assert receiver.post(body, TOKEN) == 400
    assert receiver.rows() == []


@pytest.mark.parametrize("project", ["un/known", "quiet/config", "", "group/.*", "group/config/x"])
def test_an_authentic_delivery_that_is_not_ours_is_taken_and_forgotten(
    receiver: Receiver, project: str
):
    """W7, W8: 2xx, or the forge turns the webhook off; stored nowhere, nobody told."""
    assert receiver.post(push(project), TOKEN, delivery()) == 200
    assert receiver.rows() == receiver.rows(project) == []
    assert receiver.arrived == []


def test_an_event_we_do_not_know_is_taken_and_forgotten(receiver: Receiver):
    """W7: a forge may be set to send everything."""
    body = json.dumps(
        {"object_kind": "wiki_page", "project": {"path_with_namespace": "group/config"}}
    ).encode()
    assert receiver.post(body, TOKEN, delivery()) == 200
    assert receiver.rows() == []


def test_a_repeated_delivery_is_acted_on_once(receiver: Receiver):
    """W5: one row, one hint, however often it comes."""
    assert {receiver.post(push(), TOKEN, delivery()) for _ in range(20)} == {200}
    assert len(receiver.rows()) == 1
    assert len(receiver.arrived) == 1


def test_what_cannot_be_stored_is_not_acknowledged(receiver: Receiver):
    """H3: 503, so that the forge says it again; nobody acts on what may be forgotten."""
    with receiver.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE deliveries")
    assert receiver.post(push(), TOKEN, delivery()) == 503
    assert receiver.arrived == []
