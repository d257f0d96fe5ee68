"""The thread that owes a forge its writes: outages, limits, poison, crashes."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ci_bot.core.facts import MergeRequestState
from ci_bot.errors import ForgeAuthError, ForgeError, ForgeTimeoutError, ForgeUnavailableError
from ci_bot.hub import worker as worker_module
from ci_bot.hub.projects import HubProject
from ci_bot.hub.reporter import Reporter, ReporterOptions
from ci_bot.hub.worker import ProjectWorker
from ci_bot.hub.writes import owe_comment
from ci_bot.store import inbox, outbox, tracking
from ci_bot.store.database import Database
from tests.fake_forge import FakeForge
from tests.fake_world import World

PATH = "group/config"


class Bench:
    """A world, a database, and the workers that were started on them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.world = World()
        self.forge = FakeForge(self.world, me=self.world.hub)
        self.workers: list[ProjectWorker] = []
        self.write_at: list[float] = []

    def start(self) -> ProjectWorker:
        project = HubProject(
            path=PATH,
            repositories=("https://forge.test/group/config.git",),
            open_forge=lambda _ids: self.forge,
        )

        def make_reporter(forge: FakeForge) -> Reporter:
            options = ReporterOptions(marker_secret=b"secret", now=lambda: self.world.now)
            return Reporter(project, forge, self.database, list, options)

        worker = ProjectWorker(project, self.database, make_reporter, poll_s=3600)  # type: ignore[arg-type]
        self.workers.append(worker)
        worker.start()
        return worker

    def quiet(self) -> int:
        """A merge request on which the hub itself has nothing to say."""
        number = self.world.open()
        self.world.set_state(number, MergeRequestState.CLOSED)
        return number

    def owe(self, number: int, text: str = "hello") -> None:
        with self.database.write() as connection:
            body = f"<!-- m -->{text}"
            outbox.put(connection, PATH, owe_comment(number, "<!-- m -->", body), time.time())

    def owed(self) -> dict[bool, int]:
        with self.database.read() as connection:
            return outbox.count_owed(connection)

    def undone(self) -> int:
        with self.database.read() as connection:
            return len(inbox.list_undone(connection, PATH))

    def comments(self, number: int) -> int:
        notes = self.world.merge_requests[number].notes
        return sum(1 for note in notes if note.author == self.world.hub)

    def fail(self, error: Callable[[], Exception | None], method: str = "ensure_comment") -> None:
        """Let writes fail with what `error` gives, and note when each was tried."""

        def failing(called: str, stage: str) -> Exception | None:
            if called != method or stage != "before":
                return None
            self.write_at.append(time.monotonic())
            return error()

        self.world.fail = failing


def wait_for(check: Callable[[], object], deadline_s: float = 10.0) -> None:
    until = time.monotonic() + deadline_s
    while not check():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.01)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(worker_module, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(worker_module, "AFTER_FAILURES_S", 0.05)
    database = Database(tmp_path / "hub.db")
    database.migrate()
    made = Bench(database)
    yield made
    for worker in made.workers:
        worker.stop()
    database.close()


def test_what_is_owed_is_written_and_forgotten(bench: Bench):
    """Also what another process owed before it was killed."""
    number = bench.quiet()
    bench.owe(number)
    bench.start()
    wait_for(lambda: bench.owed() == {})
    assert bench.comments(number) == 1


def test_an_outage_of_the_forge_loses_and_quarantines_nothing(bench: Bench):
    """However many tries it takes: the forge's trouble is not held against a write."""
    number = bench.quiet()
    bench.owe(number)
    tries = worker_module.MAX_ATTEMPTS * 2
    bench.fail(lambda: ForgeUnavailableError("down") if len(bench.write_at) <= tries else None)
    bench_max = worker_module.MAX_DELAY_S
    worker_module.MAX_DELAY_S = 0.02
    try:
        bench.start()
        wait_for(lambda: bench.owed() == {}, 20)
    finally:
        worker_module.MAX_DELAY_S = bench_max
    assert len(bench.write_at) > tries
    assert bench.comments(number) == 1


def test_nothing_is_sent_before_the_forge_said_so(bench: Bench):
    """F1: a limit holds for every write of the project, not for the one that met it."""
    first, second = bench.quiet(), bench.quiet()
    bench.owe(first)
    bench.owe(second)
    bench.fail(
        lambda: (
            ForgeUnavailableError("429", retry_after_s=0.7) if len(bench.write_at) == 1 else None
        )
    )
    bench.start()
    wait_for(lambda: bench.owed() == {})
    assert bench.write_at[1] - bench.write_at[0] >= 0.7


def test_a_reply_that_was_lost_leaves_one_comment(bench: Bench):
    """F2, I3: the write may have happened; making it again is the same write."""
    number = bench.quiet()
    lost = []

    def lose(called: str, stage: str) -> Exception | None:
        if (called, stage) == ("ensure_comment", "after") and len(lost) < 3:
            lost.append(called)
            return ForgeTimeoutError("no answer")
        return None

    bench.world.fail = lose
    bench.owe(number)
    bench.start()
    wait_for(lambda: len(lost) == 3 and bench.owed() == {})
    assert bench.comments(number) == 1


def test_a_poisoned_write_is_quarantined_and_the_others_go_on(bench: Bench):
    """H10: tried so often, then left for a person; also after a restart."""
    good = bench.quiet()
    with bench.database.write() as connection:
        outbox.put(connection, PATH, owe_comment(999, "<!-- m -->", "nowhere"), time.time())
    bench.owe(good)
    before = worker_module.MAX_ATTEMPTS
    worker_module.MAX_ATTEMPTS = 4
    try:
        bench.start()
        wait_for(lambda: bench.owed() == {True: 1})
    finally:
        worker_module.MAX_ATTEMPTS = before
    assert bench.comments(good) == 1


def test_a_refused_token_keeps_everything_for_later(bench: Bench):
    """F5: one line, no loop; the rows wait for a token that may."""
    number = bench.quiet()
    bench.owe(number)
    bench.fail(lambda: ForgeAuthError("the token was revoked", hint="Give another one."))
    worker = bench.start()
    wait_for(lambda: bench.write_at)
    worker.stop()
    assert len(bench.write_at) == 1
    assert bench.owed().get(False, 0) >= 1
    assert True not in bench.owed()


def test_a_delivery_is_done_only_when_its_work_is(bench: Bench):
    """W7: killed between the answer and the work, it is worked on after the restart, once."""
    number = bench.world.open()
    with bench.database.write() as connection:
        delivery = inbox.Delivery(project=PATH, delivery="d", kind="merge_request", number=number)
        inbox.save_delivery(connection, delivery, time.time())
        tracking.save_polled_at(connection, PATH, bench.world.now.timestamp() + 3600)
    down = True
    bench.fail(lambda: ForgeError("not now") if down else None, "get_project")
    killed = bench.start()
    wait_for(lambda: len(bench.write_at) >= 3)
    killed.stop()
    assert bench.undone() == 1
    down = False
    bench.start()
    wait_for(lambda: bench.undone() == 0 and bench.owed() == {})
    assert bench.comments(number) == 1


def test_a_deleted_branch_asks_the_forge_nothing(bench: Bench):
    """A push of zeros names no commit."""
    worker = bench.start()
    wait_for(lambda: "list_merge_requests" in bench.world.calls)
    bench.world.calls.clear()
    with bench.database.write() as connection:
        delivery = inbox.Delivery(project=PATH, delivery="d", kind="push", sha="0" * 40)
        row = inbox.save_delivery(connection, delivery, time.time())
    worker.ask_delivery(
        inbox.Delivery(id=row, project=PATH, delivery="d", kind="push", sha="0" * 40)
    )
    wait_for(lambda: bench.undone() == 0)
    assert bench.world.calls == []


def test_the_polls_mark_moves_once_everything_was_read(bench: Bench):
    """A poll whose findings were not read is polled again after a crash."""
    number = bench.world.open()
    down = True
    bench.fail(lambda: ForgeUnavailableError("down") if down else None, "get_merge_request")
    bench.start()
    wait_for(lambda: len(bench.write_at) >= 2)

    def polled_at() -> datetime | None:
        with bench.database.read() as connection:
            at = tracking.find_polled_at(connection, PATH)
        return None if at is None else datetime.fromtimestamp(at, UTC)

    assert polled_at() is None
    down = False
    wait_for(lambda: polled_at() is not None)
    assert bench.comments(number) == 1
