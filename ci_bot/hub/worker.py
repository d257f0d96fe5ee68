"""One thread per project that reads and writes its forge, one thing after the other.

A forge that hangs, or asks to slow down, holds up its own project and no other. Work is keyed: asking twice for the
same before it is begun is asking once. Owed writes are made between pieces of work.
"""

import heapq
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from ci_bot.errors import CiBotError, ForgeAuthError, ForgeError, ForgeUnavailableError
from ci_bot.forges.port import Forge
from ci_bot.hub.projects import HubProject
from ci_bot.hub.reporter import Reporter
from ci_bot.hub.writes import make_write
from ci_bot.metrics import FORGE_WRITES, WORK_FAILED
from ci_bot.store import inbox, outbox, tracking
from ci_bot.store.database import Database

FIRST_DELAY_S, MAX_DELAY_S = 1.0, 300.0
LONGEST_QUIET_S = 3600.0  # however long a forge asks us to wait
MAX_ATTEMPTS = 12
AFTER_FAILURES_S = 5.0
OPEN_DELAY_S = 3.0  # an open merge request shows what is there now, but not every step of it
IDLE_S = 30.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, order=True)
class Work:
    """`merge-request` 7, `landed` <sha>, `rollouts`, `poll`, `polled` <time>, `delivery` <row>."""

    kind: str
    subject: str = ""


class ProjectWorker:
    """Serves one project until it is stopped; `make_reporter` opens the forge and may fail for a while."""

    def __init__(
        self,
        project: HubProject,
        database: Database,
        make_reporter: Callable[[Forge], Reporter],
        poll_s: float,
    ) -> None:
        self.project = project
        self._database = database
        self._make_reporter = make_reporter
        self._poll_s = poll_s
        self._forge: Forge | None = None
        self._reporter: Reporter | None = None
        self._wake = threading.Condition()
        self._due: list[tuple[float, Work]] = []
        self._failures: dict[Work, int] = {}
        self._outages = 0
        self._quiet_until = 0.0  # monotonic; nothing is sent to the forge before
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"forge {project.path}", daemon=True)

    def start(self) -> None:
        """Begin with what was left undone, then a poll."""
        with self._database.read() as connection:
            undone = inbox.list_undone(connection, self.project.path)
        for delivery in undone:
            self.ask_delivery(delivery)
        self.ask(Work("poll"))
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End after the piece of work at hand."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(timeout_s)

    def ask(self, work: Work, after_s: float = 0.0) -> None:
        """Ask for a piece of work; of two askings for the same the earlier time counts. Any thread."""
        at = time.monotonic() + after_s
        with self._wake:
            known = next((due for due in self._due if due[1] == work), None)
            if known is not None:
                if known[0] <= at:
                    return
                self._due.remove(known)
                heapq.heapify(self._due)
            heapq.heappush(self._due, (at, work))
            self._wake.notify()

    def ask_delivery(self, delivery: inbox.Delivery) -> None:
        """Ask for what a stored delivery points at; the row is done when that is."""
        if delivery.number:
            self.ask(Work("merge-request", str(delivery.number)))
        elif delivery.kind == "push" and delivery.sha.strip("0"):  # zeros: the branch is gone
            self.ask(Work("landed", delivery.sha))
        self.ask(Work("delivery", str(delivery.id)))

    # -- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            work = self._next()
            if self._stopping:
                return
            try:
                if work is not None:
                    self._do(work)
                self._write_owed()
            except ForgeUnavailableError as err:
                self._keep_quiet(err)
                self._postpone(work, err)
            except Exception as err:  # noqa: BLE001 - one piece of work must not end them all
                self._postpone(work, err)

    def _next(self) -> Work | None:
        """Wait for a piece of work, or until a write is due (None)."""
        with self._wake:
            while not self._stopping:
                now = time.monotonic()
                if now < self._quiet_until:
                    self._wake.wait(self._quiet_until - now)
                    continue
                if self._due and self._due[0][0] <= now:
                    return heapq.heappop(self._due)[1]
                until_s = self._due[0][0] - now if self._due else IDLE_S
                owed_s = self._owed_in_s()
                if owed_s <= 0:
                    return None
                self._wake.wait(min(until_s, owed_s))
        return None

    def _owed_in_s(self) -> float:
        if self._forge is None:
            return IDLE_S
        with self._database.read() as connection:
            due_at = outbox.find_next_due(connection, self.project.path)
        return IDLE_S if due_at is None else due_at - time.time()

    def _do(self, work: Work) -> None:
        reporter = self._get_reporter()
        match work.kind:
            case "merge-request":
                again_s = reporter.read_merge_request(int(work.subject))
                if again_s is not None:
                    self.ask(work, again_s)
            case "landed":
                for number in reporter.find_merge_requests(work.subject):
                    self.ask(Work("merge-request", str(number)))
            case "rollouts":
                self._say_rollouts(reporter)
            case "delivery" | "polled":
                self._finish(reporter, work)
            case _:
                self._poll(reporter)
        self._failures.pop(work, None)
        self._outages = 0

    def _finish(self, reporter: Reporter, work: Work) -> None:
        """Record that something was worked on; not while a piece of it may still have to be tried again."""
        if any(failed.kind != "poll" for failed in self._failures):
            self.ask(work, AFTER_FAILURES_S)
        elif work.kind == "polled":
            reporter.save_polled(float(work.subject))
        else:
            with self._database.write() as connection:
                inbox.finish_delivery(connection, int(work.subject), time.time())

    def _say_rollouts(self, reporter: Reporter) -> None:
        touched = reporter.find_touched()
        for number in touched.landed:
            again_s = reporter.say_rollout(number)
            if again_s is not None:
                self.ask(Work("merge-request", str(number)), again_s)
        for number in touched.unread:
            self.ask(Work("merge-request", str(number)))
        for number in touched.open:
            self.ask(Work("merge-request", str(number)), OPEN_DELAY_S)

    def _poll(self, reporter: Reporter) -> None:
        self.ask(Work("poll"), self._poll_s * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
        numbers, polled_at = reporter.poll()
        for number in numbers:
            self.ask(Work("merge-request", str(number)))
        self.ask(Work("rollouts"))
        self.ask(Work("polled", repr(polled_at)))

    def _get_reporter(self) -> Reporter:
        if self._reporter is None:
            path = self.project.path
            with self._database.read() as connection:
                authors = tracking.list_authors(connection, path)
            forge = self.project.open_forge(authors)
            with self._database.write() as connection:
                tracking.add_author(connection, path, forge.me.id)
            self._reporter = self._make_reporter(forge)
            self._forge = forge
            log.info("forge reached", project=path, user=forge.me.username)
        return self._reporter

    def _keep_quiet(self, err: ForgeUnavailableError) -> None:
        """Leave the forge alone for as long as it asks, or for longer with every failure."""
        self._outages += 1
        asked_s = err.retry_after_s if err.retry_after_s is not None else _backoff_s(self._outages)
        self._quiet_until = time.monotonic() + min(max(asked_s, 0.0), LONGEST_QUIET_S)

    def _postpone(self, work: Work | None, err: Exception) -> None:
        WORK_FAILED.inc()
        known = err if isinstance(err, CiBotError) else None
        if known is None:
            log.error("work failed", project=self.project.path, work=str(work), exc_info=err)
        if work is None:
            return
        failures = self._failures.get(work, 0) + 1
        self._failures[work] = failures
        log.warning(
            "work postponed",
            project=self.project.path,
            work=work.kind,
            subject=work.subject,
            reason=known.reason if known else type(err).__name__,
            message=known.message if known else "",
            failures=failures,
        )
        if work.kind not in {"poll", "polled", "delivery"} and _is_hopeless(err, failures):
            # The poller brings it back; a piece of work that always fails must not be all we do.
            self._failures.pop(work)
            return
        self.ask(work, _backoff_s(failures))

    # -- the outbox -------------------------------------------------------------------------------------------------

    def _write_owed(self) -> None:
        if self._forge is None:
            return
        path = self.project.path
        with self._database.read() as connection:
            due = outbox.list_due(connection, path, time.time())
        for owed in due:
            if self._stopping or not self._write(self._forge, owed):
                return

    def _write(self, forge: Forge, owed: outbox.Owed) -> bool:
        """Make one write; False where the forge should be left alone for a while."""
        path = self.project.path
        kind = owed.key.partition(":")[0]
        try:
            make_write(forge, owed)
        except ForgeUnavailableError as err:
            # The forge's trouble, not the row's: it is not counted against it, however long it lasts.
            FORGE_WRITES.labels(kind, "postponed").inc()
            self._keep_quiet(err)
            self._keep(owed, err.message, self._quiet_until - time.monotonic())
            return False
        except ForgeAuthError as err:
            # Nothing is lost: the rows stay until somebody gives a token that may.
            FORGE_WRITES.labels(kind, "refused").inc()
            self._quiet_until = time.monotonic() + MAX_DELAY_S
            self._keep(owed, f"{err.message} {err.hint}".strip(), MAX_DELAY_S)
            return False
        except Exception as err:  # noqa: BLE001 - a poisoned row must not stop the others
            FORGE_WRITES.labels(kind, "failed").inc()
            said = err.message if isinstance(err, CiBotError) else type(err).__name__
            self._keep(owed, said, _backoff_s(owed.attempts + 1), counted=True)
            return True
        self._outages = 0
        with self._database.write() as connection:
            outbox.settle(connection, path, owed)
        FORGE_WRITES.labels(kind, "made").inc()
        log.info("write made", project=path, key=owed.key)
        return True

    def _keep(
        self, owed: outbox.Owed, error: str, delay_s: float, *, counted: bool = False
    ) -> None:
        quarantined = counted and owed.attempts + 1 >= MAX_ATTEMPTS
        failure = outbox.Failure(
            error=error, due_at=time.time() + delay_s, counted=counted, quarantined=quarantined
        )
        with self._database.write() as connection:
            outbox.postpone(connection, self.project.path, owed, failure)
        log.warning(
            "write quarantined" if quarantined else "write postponed",
            project=self.project.path,
            key=owed.key,
            error=error,
            delay_s=round(delay_s, 1),
        )


def _is_hopeless(err: Exception, failures: int) -> bool:
    """Tell whether trying again soon is of no use: the forge said no, or it has been tried often enough."""
    if isinstance(err, ForgeAuthError | ForgeUnavailableError):
        return False
    return isinstance(err, ForgeError) or failures >= MAX_ATTEMPTS


def _backoff_s(failures: int) -> float:
    ceiling = min(FIRST_DELAY_S * 2.0 ** (failures - 1), MAX_DELAY_S)
    return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
