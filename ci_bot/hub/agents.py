"""The gRPC side: one stream per agent.

An agent speaks first (Hello), then reports. A report is acknowledged once the transaction that stores it has
committed. What goes back are acknowledgements, hints and the wish to hear everything again; nothing else exists.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from typing import Any

import grpc
import structlog

from ci_bot.hub.ledger import Ledger
from ci_bot.hub.sessions import Followed, Session, Sessions
from ci_bot.metrics import REPORTS, STREAMS_ENDED
from protos.lockgate.v1 import agent_pb2 as pb
from protos.lockgate.v1 import agent_pb2_grpc as rpc

HELLO_DEADLINE_S = 10
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MAX_NAME = 200
# By then an agent that was started anew has reported what it has; the rest was removed while it was away.
FORGET_AFTER_S = 600
log = structlog.get_logger()


class AgentLink(rpc.AgentLinkServicer):
    """Accepts streams. `changed(agent, app)` is called on the loop after each stored change."""

    def __init__(
        self, ledger: Ledger, sessions: Sessions, changed: Callable[[str, str], None]
    ) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._changed = changed

    async def Connect(  # noqa: N802 - the name is the protocol's
        self, request_iterator: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        """Serve one stream until either side ends it."""
        session = await self._greet(request_iterator, context)
        self._sessions.open(session)
        log.info("agent connected", agent=session.agent, cluster=session.cluster)
        reader = asyncio.create_task(self._read(session, request_iterator))
        ended = asyncio.create_task(session.ended.wait())
        try:
            yield pb.HubMessage(welcome=pb.Welcome(hub_version=version("lockgate")))
            async for message in _drain(session, {reader, ended}):
                yield message
            if reader.done() and (error := reader.exception()):
                raise error
        finally:
            reader.cancel()
            ended.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await reader
            self._end(session)

    def _end(self, session: Session) -> None:
        owned = self._sessions.close(session)
        STREAMS_ENDED.labels("ended" if owned else "replaced").inc()
        log.info("agent disconnected", agent=session.agent, replaced=not owned)

    async def _greet(self, incoming: AsyncIterator[Any], context: Any) -> Session:
        try:
            async with asyncio.timeout(HELLO_DEADLINE_S):
                first = await anext(incoming, None)
        except TimeoutError:
            first = None
        if first is None or not first.HasField("hello"):
            raise await _refuse(context, "the first message must be a Hello")
        hello = first.hello
        name = hello.agent_id or hello.cluster
        if not _is_name(name) or not _is_name(hello.cluster):
            raise await _refuse(context, "the Hello names no cluster")
        if not _is_name(hello.epoch):
            raise await _refuse(context, "the Hello has no epoch")
        session = Session(
            agent=name,
            cluster=hello.cluster,
            epoch=hello.epoch,
            forget_at=time.monotonic() + FORGET_AFTER_S,
        )
        session.followed = await self._ledger.save_agent(session.agent, hello)
        return session

    async def _read(self, session: Session, incoming: AsyncIterator[Any]) -> None:
        async for message in incoming:
            match message.WhichOneof("message"):
                case "report":
                    await self._take_report(session, message.report)
                case "gone":
                    await self._ledger.delete_report(session.agent, message.gone.app)
                    self._acknowledge(session, message.gone.seq)
                    self._changed(session.agent, message.gone.app)
                case "digest":
                    await self._compare(session, message.digest)
                case "heartbeat":
                    await self._take_heartbeat(session)
                case _:
                    # A newer agent may say more than we know; the stream lives on.
                    REPORTS.labels("unknown").inc()

    async def _take_heartbeat(self, session: Session) -> None:
        await self._ledger.touch(session.agent)
        if session.forget_at > time.monotonic():
            return
        session.forget_at = math.inf
        for app in await self._ledger.forget_older(session.agent, session.epoch):
            log.info("application forgotten", agent=session.agent, application=app)
            self._changed(session.agent, app)

    async def _take_report(self, session: Session, report: Any) -> None:
        if not report.app or len(report.app) > 2 * MAX_NAME:
            REPORTS.labels("invalid").inc()
            self._acknowledge(session, report.seq)
            return
        stored = await self._ledger.save_report(session.agent, session.epoch, report)
        session.followed.add(Followed.of(report))
        REPORTS.labels("stored" if stored else "older").inc()
        self._acknowledge(session, report.seq)
        if stored:
            self._changed(session.agent, report.app)

    def _acknowledge(self, session: Session, seq: int) -> None:
        # An acknowledgement that does not fit is made up by the next one, which covers it.
        session.send(pb.HubMessage(ack=pb.Ack(epoch=session.epoch, seq=seq)))

    async def _compare(self, session: Session, digest: Any) -> None:
        entries = {entry.app: entry.digest for entry in digest.entries}
        known, own = await self._ledger.list_digests(session.agent, session.epoch)
        # A process that has just started has not looked yet: what it does not name may still be there. Only what
        # this very process reported before, and names no more, is gone.
        for app in own - entries.keys():
            await self._ledger.delete_report(session.agent, app)
            self._changed(session.agent, app)
        if any(known.get(app) != value for app, value in entries.items()):
            session.send(pb.HubMessage(resync=pb.ResyncRequest()))


async def _refuse(context: Any, why: str) -> Exception:
    """End the call with a status; aborting raises, and the return is there for the reader."""
    STREAMS_ENDED.labels("no-hello").inc()
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)
    return RuntimeError(why)


async def _drain(session: Session, until: set[asyncio.Task[Any]]) -> AsyncIterator[Any]:
    """Yield what is to be sent until one of `until` is done."""
    while True:
        getter = asyncio.create_task(session.outgoing.get())
        try:
            await asyncio.wait({getter, *until}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            getter.cancel()
            raise
        if not getter.done():
            getter.cancel()
            return
        yield getter.result()


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME and text.isprintable()
