"""The loop's way to the store: every call runs in the database's own thread and is awaited."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ci_bot.hub.sessions import Followed
from ci_bot.hub.wire import content_of, digest_of
from ci_bot.store import inbox, outbox, reports
from ci_bot.store.database import Database
from protos.lockgate.v1 import agent_pb2 as pb

T = TypeVar("T")


class Ledger:
    """Writes of the event loop, one at a time: SQLite has one writer anyway."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="database")

    def close(self) -> None:
        self._executor.shutdown(wait=True)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def save_agent(self, name: str, hello: Any) -> set[Followed]:
        """Record an agent's arrival; return what its Applications followed last."""
        agent = reports.Agent(
            agent=name,
            cluster=hello.cluster,
            cluster_uid=hello.cluster_uid,
            version=hello.version,
            epoch=hello.epoch,
        )

        def work() -> set[Followed]:
            with self._database.write() as connection:
                reports.save_agent(connection, agent, time.time())
                stored = reports.list_reports(connection, name)
            return {Followed.of(pb.ApplicationReport.FromString(each.body)) for each in stored}

        return await self._run(work)

    async def touch(self, name: str) -> None:
        def work() -> None:
            with self._database.write() as connection:
                reports.touch_agent(connection, name, time.time())

        await self._run(work)

    async def save_report(self, agent: str, epoch: str, report: Any) -> bool:
        """Store a report; False where a later one was there."""
        content, app, seq = content_of(report), report.app, report.seq
        stored = reports.StoredReport(agent=agent, cluster="", app=app, body=content)

        def work() -> bool:
            with self._database.write() as connection:
                return reports.save_report(connection, stored, epoch, seq, time.time())

        return await self._run(work)

    async def delete_report(self, agent: str, app: str) -> None:
        def work() -> None:
            with self._database.write() as connection:
                reports.delete_report(connection, agent, app)

        await self._run(work)

    async def list_digests(self, agent: str, epoch: str) -> tuple[dict[str, bytes], set[str]]:
        """Return digests of all we know of an agent, and which Applications this `epoch` itself reported."""

        def work() -> tuple[dict[str, bytes], set[str]]:
            with self._database.read() as connection:
                stored = reports.list_reports(connection, agent)
                own = reports.list_apps(connection, agent, epoch)
            return {each.app: digest_of(each.body) for each in stored}, own

        return await self._run(work)

    async def forget_older(self, agent: str, epoch: str) -> list[str]:
        """Forget what only earlier processes of an agent reported; return the Applications' names."""

        def work() -> list[str]:
            with self._database.write() as connection:
                return reports.delete_older_epochs(connection, agent, epoch)

        return await self._run(work)

    async def count_owed(self) -> dict[bool, int]:
        """Return how many forge writes are owed (False) and quarantined (True)."""

        def work() -> dict[bool, int]:
            with self._database.read() as connection:
                return outbox.count_owed(connection)

        return await self._run(work)

    async def save_delivery(self, delivery: inbox.Delivery) -> int:
        """Store a delivery; 0 where it was stored before."""

        def work() -> int:
            with self._database.write() as connection:
                return inbox.save_delivery(connection, delivery, time.time())

        return await self._run(work)
