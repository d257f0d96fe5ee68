"""The agent's link against a real gRPC server that cuts, stalls and floods."""

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from agent.core.report import ApplicationReport, Operation
from agent.core.states import Health, SyncStatus
from agent.link.session import Identity, Link, LinkOptions, LinkTimes
from agent.link.wire import digest_report
from agent.metrics import AgentMetrics
from protos.lockgate.v1 import agent_pb2 as pb
from protos.lockgate.v1.agent_pb2_grpc import (
    AgentLinkServicer,
    add_AgentLinkServicer_to_server,
)

FAST = LinkTimes(
    welcome_s=2,
    heartbeat_s=0.2,
    backoff_s=0.005,
    backoff_most_s=0.05,
    keepalive_s=1,
    keepalive_timeout_s=1,
)
PERMISSIVE = (("grpc.http2.min_recv_ping_interval_without_data_ms", 100), ("grpc.so_reuseport", 0))


class Hub(AgentLinkServicer):
    """Stores what it acknowledges; `cut_after` says after how many messages a stream is cut."""

    def __init__(self) -> None:
        self.hellos: list[pb.Hello] = []
        self.stored: list[pb.AgentMessage] = []
        self.digests: list[pb.InventoryDigest] = []
        self.beats = 0
        self.numbers: list[int] = []
        self.cut_after: Callable[[], int] = lambda: 1 << 30
        self.to_send: asyncio.Queue[pb.HubMessage] = asyncio.Queue()
        self.cuts = 0
        self.silent = False
        self._out: asyncio.Queue[pb.HubMessage | None] = asyncio.Queue()

    def say(self, message: pb.HubMessage | None) -> None:
        """Send a message on the newest stream; None cuts it."""
        self._out.put_nowait(message)

    async def Connect(  # noqa: N802 - the service's name
        self, requests, context
    ) -> AsyncIterator[pb.HubMessage]:
        out = self._out = asyncio.Queue()
        reader = asyncio.ensure_future(self._read(requests, out))
        try:
            while True:
                message = await out.get()
                if message is None:
                    self.cuts += 1
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
                yield message
        finally:
            reader.cancel()

    async def _read(self, requests, out) -> None:
        left = self.cut_after()
        epoch = ""
        async for message in requests:
            kind = message.WhichOneof("message")
            if left == 0:
                await out.put(None)
                return
            left -= 1
            if kind == "hello":
                self.hellos.append(message.hello)
                epoch = message.hello.epoch
                await out.put(pb.HubMessage(welcome=pb.Welcome(hub_version="test")))
                while not self.to_send.empty():
                    await out.put(self.to_send.get_nowait())
            elif kind == "digest":
                self.digests.append(message.digest)
            elif kind == "heartbeat":
                self.beats += 1
            else:
                seq = message.report.seq or message.gone.seq
                self.numbers.append(seq)
                if self.silent:
                    continue
                if random.random() < 0.2:  # stored or not, the acknowledgement is lost
                    self.stored.append(message)
                    continue
                self.stored.append(message)
                await out.put(pb.HubMessage(ack=pb.Ack(epoch=epoch, seq=seq)))
        await out.put(None)


@contextlib.asynccontextmanager
async def serving(hub: Hub, port: int = 0):
    server = grpc.aio.server(options=PERMISSIVE)
    add_AgentLinkServicer_to_server(hub, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def linked(port: int, hints: list | None = None, times: LinkTimes = FAST):
    seen = [] if hints is None else hints
    options = LinkOptions(
        target=f"127.0.0.1:{port}",
        identity=Identity(agent_id="a", epoch="e1", version="0", cluster="dev", cluster_uid="uid"),
        times=times,
    )
    metrics = AgentMetrics()
    link = Link(options, lambda repo, ref: seen.append((repo, ref)), metrics.link)
    link.counted = metrics  # type: ignore[attr-defined]
    task = asyncio.ensure_future(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition is another process' or thread's
            await asyncio.sleep(0.01)


def report(app: str, number: int, *, failed: bool = False) -> ApplicationReport:
    return ApplicationReport(
        app=app,
        revision=f"r{number}",
        change_revision=f"r{number}",
        sync=SyncStatus.OUT_OF_SYNC,
        health=Health.PROGRESSING,
        operation=Operation(phase="Failed", revision=f"r{number}") if failed else None,
    )


def test_hello_comes_first_and_reports_reach_the_hub():
    async def run() -> None:
        hub = Hub()
        async with serving(hub) as port, linked(port) as link:
            await asyncio.to_thread(link.report, report("argocd/a", 1))
            await until(
                lambda: (
                    (link.unconfirmed == 0 and len(hub.stored) > 0)
                    or (hub.stored is not None and len(hub.stored) > 0)
                )
            )
        assert hub.hellos[0].cluster == "dev"
        assert hub.hellos[0].cluster_uid == "uid"
        assert hub.stored[0].report.app == "argocd/a"
        assert hub.numbers[0] == 1

    asyncio.run(run())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sixty_cuts_lose_no_outcome_and_keep_the_order(seed):
    """I4, T10: cut after a random number of messages, acknowledgements lost at random, four threads reporting."""
    dice = random.Random(seed)
    random.seed(seed)

    async def run() -> None:
        hub = Hub()
        hub.cut_after = lambda: dice.randint(0, 12)
        async with serving(hub) as port, linked(port) as link:

            def work(app: str) -> None:
                for number in range(1, 61):
                    link.report(report(app, number))
                    link.report(report(app, number, failed=True))
                    threading.Event().wait(0.002)

            workers = [asyncio.to_thread(work, f"argocd/{name}") for name in "abcd"]
            await asyncio.gather(*workers)
            await until(lambda: hub.cuts >= 60 or link.unconfirmed == 0)
            while hub.cuts < 60:
                link.report(report("argocd/e", hub.cuts))
                await asyncio.sleep(0.005)
            hub.cut_after = lambda: 1 << 30
            link.report(report("argocd/a", 61))
            await until(lambda: any(m.report.revision == "r61" for m in hub.stored))
        assert hub.cuts >= 60
        for name in "abcd":
            told = [m.report for m in hub.stored if m.report.app == f"argocd/{name}"]
            failed = [r.revision for r in told if r.operation.phase == "Failed"]
            assert set(failed) == {f"r{n}" for n in range(1, 61)}
            first_told = list(dict.fromkeys(failed))
            assert first_told == [f"r{n}" for n in range(1, 61)]
        assert hub.numbers == sorted(hub.numbers)

    asyncio.run(run())


def test_without_a_hub_reports_merge_and_arrive_when_it_comes():
    """T9: the outbox holds one state an Application, however long it takes."""

    async def run() -> None:
        hub = Hub()
        async with serving(hub) as port:
            pass
        async with linked(port) as link:
            for number in range(5000):
                link.report(report(f"argocd/{number % 10}", number))
            await until(lambda: link.unconfirmed == 10)
            async with serving(hub, port):
                await until(lambda: len({m.report.app for m in hub.stored}) == 10)
            assert {m.report.revision for m in hub.stored} == {f"r{n}" for n in range(4990, 5000)}

    asyncio.run(run())


def test_hints_arrive_and_anything_else_only_counts():
    """T8, H8: unknown messages, other epochs' acknowledgements and numbers never given change nothing."""

    async def run() -> None:
        hub = Hub()
        hub.silent = True
        hints: list = []
        for message in (
            pb.HubMessage(),
            pb.HubMessage.FromString(b"\xfa\x06\x03abc"),  # a field of a later version
            pb.HubMessage(ack=pb.Ack(epoch="other", seq=1)),
            pb.HubMessage(ack=pb.Ack(epoch="e1", seq=99)),
            pb.HubMessage(
                hint=pb.RefreshHint(repo="https://f.example/g/c.git", ref="refs/heads/main")
            ),
        ):
            hub.to_send.put_nowait(message)
        async with serving(hub) as port, linked(port, hints) as link:
            link.report(report("argocd/a", 1))
            await until(lambda: bool(hints) and hub.numbers == [1])
            assert link.connected
            assert link.unconfirmed == 1
            text = link.counted.render().decode()
        assert hints == [("https://f.example/g/c.git", "refs/heads/main")]
        assert 'hub_messages_total{kind="unknown"} 2.0' in text

    asyncio.run(run())


def test_a_resync_request_brings_every_current_report_again():
    async def run() -> None:
        hub = Hub()
        async with serving(hub) as port, linked(port) as link:
            for name in "ab":
                link.report(report(f"argocd/{name}", 1))
            await until(lambda: len(hub.stored) == 2)
            hub.say(pb.HubMessage(resync=pb.ResyncRequest()))
            await until(lambda: len(hub.stored) >= 4)
        assert {m.report.app for m in hub.stored[2:]} == {"argocd/a", "argocd/b"}

    asyncio.run(run())


def test_a_reconnect_tells_what_the_agent_has():
    """The digest lets a hub that forgot ask for everything again."""

    async def run() -> None:
        hub = Hub()
        async with serving(hub) as port, linked(port) as link:
            link.report(report("argocd/a", 1))
            await until(lambda: len(hub.stored) >= 1)
            hub.say(None)
            await until(lambda: len(hub.digests) >= 2)
        (entry,) = hub.digests[-1].entries
        assert (entry.app, entry.digest) == ("argocd/a", digest_report(report("argocd/a", 1)))

    asyncio.run(run())


class Proxy:
    """Forwards TCP to a port until `stalled`; then it swallows what it gets. Port 0: swallows from the start."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.stalled = threading.Event()
        self.connections = 0
        self.heard = bytearray()
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = self._sockets[0].getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._sockets[0].accept()
                self.connections += 1
                self._sockets.append(client)
                up = None
                if self._port:
                    up = socket.create_connection(("127.0.0.1", self._port))
                    self._sockets.append(up)
                    threading.Thread(target=self._pump, args=(up, client), daemon=True).start()
                threading.Thread(target=self._pump, args=(client, up), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.heard.extend(data)
                if target is not None and not self.stalled.is_set():
                    target.sendall(data)

    def close(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def test_a_half_open_connection_is_noticed():
    """T12: a connection that silently swallows everything is dialled anew."""

    async def run() -> None:
        hub = Hub()
        async with serving(hub) as port:
            with contextlib.closing(Proxy(port)) as proxy:
                async with linked(proxy.port) as link:
                    await until(lambda: link.connected)
                    proxy.stalled.set()
                    await until(lambda: proxy.connections >= 2, within_s=15)

    asyncio.run(run())


def test_a_server_that_is_no_hub_gets_no_report():
    """T7: nothing is said of an Application before a welcome."""

    async def run() -> None:
        with contextlib.closing(Proxy(0)) as proxy:
            async with linked(proxy.port) as link:
                link.report(report("argocd/canary", 1))
                await until(lambda: proxy.connections >= 2)
                assert not link.connected
            assert proxy.heard
            assert b"canary" not in bytes(proxy.heard)

    asyncio.run(run())
