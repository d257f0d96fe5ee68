"""The agent's one connection to its hub: dialled from inside the cluster, kept up, never needed.

The loop owns everything here. Worker threads only call `Link.report`. What comes from the hub is a hint, a
confirmation or a question; nothing in it can change what the agent writes, only when it looks.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # before grpc is loaded: git is forked here

import grpc
import structlog

from agent.link.hints import HintGate
from agent.link.outbox import Item, Outbox
from agent.link.wire import digest_report, encode
from protos.lockgate.v1 import agent_pb2 as pb
from protos.lockgate.v1.agent_pb2_grpc import AgentLinkStub

_LARGEST_FROM_HUB = 64 * 1024


class LinkMetrics(Protocol):
    """What is counted; `agent.metrics` implements it."""

    def link_connected(self, *, connected: bool) -> None: ...
    def link_reconnected(self, why: str) -> None: ...
    def hub_message(self, kind: str) -> None: ...
    def report_sent(self) -> None: ...
    def report_superseded(self) -> None: ...
    def outbox_size(self, size: int) -> None: ...
    def hint_dropped(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this agent says it is."""

    agent_id: str
    epoch: str
    version: str
    cluster: str
    cluster_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTimes:
    """Seconds. A half-open connection is noticed after at most `keepalive_s` + `keepalive_timeout_s`."""

    welcome_s: float = 10.0
    heartbeat_s: float = 30.0
    keepalive_s: float = 60.0
    keepalive_timeout_s: float = 20.0
    backoff_s: float = 0.5
    backoff_most_s: float = 30.0
    stable_s: float = 10.0  # a connection that held this long resets the back-off


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """Where the hub is; without TLS that is a loopback address, which `agent.config` has checked."""

    target: str
    identity: Identity
    times: LinkTimes = field(default_factory=LinkTimes)


class _LostError(Exception):
    """The stream ended; the text says how."""


class Link:
    """Reports out, hints in. Construct and `run` on the loop; `report` from any thread."""

    def __init__(
        self,
        options: LinkOptions,
        on_hint: Callable[[str, str], object],
        metrics: LinkMetrics,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        self._wake = asyncio.Event()
        self._hints = HintGate(on_hint, clock=self._loop.time, schedule=self._loop.call_later)
        self._log = structlog.get_logger("agent.link").bind(hub=options.target)
        self._connected = asyncio.Event()
        self._settled = asyncio.Event()  # nothing to wait for: all confirmed, or nobody to confirm

    def report(self, item: Item) -> None:
        """Take a report from any thread; returns at once and never fails."""
        with suppress(RuntimeError):  # the loop is closed: the agent is ending
            self._loop.call_soon_threadsafe(self._offer, item)

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    @property
    def unconfirmed(self) -> int:
        """How many items the hub has not confirmed."""
        return len(self._outbox)

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        times = self._options.times
        failures = 0
        while True:
            started = self._loop.time()
            why = await self._connect()
            self._outbox.reconnect()
            self._settled.set()
            if self._connected.is_set():
                self._connected.clear()
                self._metrics.link_connected(connected=False)
                self._log.warning("hub lost", why=why)
            elif failures == 0:
                self._log.warning("hub unreachable", why=why)
            self._metrics.link_reconnected(why)
            failures = 0 if self._loop.time() - started >= times.stable_s else failures + 1
            ceiling = min(times.backoff_most_s, times.backoff_s * 2 ** min(failures, 12))
            await asyncio.sleep(ceiling * random.uniform(0.5, 1.0))  # noqa: S311 - spreading, not secrecy

    async def drain(self, timeout_s: float) -> None:
        """Wait until the hub has confirmed everything, at most so long; for a graceful end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()

    def _offer(self, item: Item) -> None:
        if self._outbox.offer(item):
            self._metrics.report_superseded()
        self._metrics.outbox_size(len(self._outbox))
        self._settled.clear()
        self._wake.set()

    async def _connect(self) -> str:
        times = self._options.times
        channel = grpc.aio.insecure_channel(
            self._options.target,
            options=(
                ("grpc.use_local_subchannel_pool", 1),  # ours is the only back-off
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_receive_message_length", _LARGEST_FROM_HUB),
                ("grpc.keepalive_time_ms", int(times.keepalive_s * 1000)),
                ("grpc.keepalive_timeout_ms", int(times.keepalive_timeout_s * 1000)),
                ("grpc.http2.ping_timeout_ms", int(times.keepalive_timeout_s * 1000)),
                ("grpc.http2.max_pings_without_data", 0),
                # A bandwidth probe whose answer is lost would block the keepalive ping behind it for ever.
                ("grpc.http2.bdp_probe", 0),
            ),
        )
        try:
            await self._converse(AgentLinkStub(channel).Connect())
        except grpc.aio.AioRpcError as err:
            return str(err.code().name)
        except asyncio.InvalidStateError:
            # What grpc.aio raises for a write to a stream that has ended.
            return "STREAM_ENDED"
        except TimeoutError:
            return "NO_WELCOME"
        except _LostError as err:
            return str(err)
        except Exception:  # noqa: BLE001 - the supervisor of the link: whatever it was, dial again
            self._log.exception("link failed")
            return "INTERNAL"
        else:
            return "STREAM_ENDED"
        finally:
            await channel.close()

    async def _converse(self, stream: "Stream") -> None:
        identity = self._options.identity
        hello = pb.Hello(
            agent_id=identity.agent_id,
            epoch=identity.epoch,
            version=identity.version,
            cluster=identity.cluster,
            cluster_uid=identity.cluster_uid,
        )
        async with asyncio.timeout(self._options.times.welcome_s):
            await stream.write(pb.AgentMessage(hello=hello))
            await self._read_welcome(stream)
        entries = [
            pb.InventoryDigest.Entry(app=app, digest=digest_report(report))
            for app, report in self._outbox.current().items()
        ]
        await stream.write(pb.AgentMessage(digest=pb.InventoryDigest(entries=entries)))
        self._connected.set()
        if self._outbox:
            self._settled.clear()
        self._metrics.link_connected(connected=True)
        self._log.info("hub connected")
        tasks = [
            asyncio.ensure_future(part)
            for part in (self._read(stream), self._write(stream), self._beat(stream))
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_welcome(self, stream: "Stream") -> None:
        first = await stream.read()
        if not isinstance(first, pb.HubMessage) or first.WhichOneof("message") != "welcome":
            raise _LostError("NO_WELCOME")
        self._metrics.hub_message("welcome")

    async def _read(self, stream: "Stream") -> None:
        while True:
            message = await stream.read()
            if not isinstance(message, pb.HubMessage):
                raise _LostError("STREAM_ENDED")
            self._take(message)

    def _take(self, message: pb.HubMessage) -> None:
        kind = message.WhichOneof("message") or "unknown"
        self._metrics.hub_message(kind)
        match kind:
            case "ack":
                if message.ack.epoch == self._options.identity.epoch:
                    self._outbox.confirm(message.ack.seq)
                    self._metrics.outbox_size(len(self._outbox))
                    if not self._outbox:
                        self._settled.set()
            case "hint":
                if not self._hints.take(message.hint.repo, message.hint.ref):
                    self._metrics.hint_dropped()
            case "resync":
                self._outbox.resync()
                self._wake.set()
            case _:
                # A second welcome, or a message of a newer hub: counted above, and nothing else.
                return

    async def _write(self, stream: "Stream") -> None:
        while True:
            self._wake.clear()
            while (sending := self._outbox.send()) is not None:
                seq, item = sending
                await stream.write(encode(item, seq))
                self._metrics.report_sent()
            await self._wake.wait()

    async def _beat(self, stream: "Stream") -> None:
        while True:
            await asyncio.sleep(self._options.times.heartbeat_s)
            beat = pb.Heartbeat()
            beat.sent_at.GetCurrentTime()
            await stream.write(pb.AgentMessage(heartbeat=beat))


class Stream(Protocol):
    """The part of a grpc.aio stream call that is used here."""

    async def write(self, request: pb.AgentMessage) -> None: ...
    async def read(self) -> object: ...
    def __aiter__(self) -> AsyncIterator[object]: ...
