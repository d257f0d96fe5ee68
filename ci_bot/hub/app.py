"""The hub put together: one event loop for gRPC and HTTP, one thread for the database, one per project for its forge.

This is the composition root: it alone reads the configuration and builds what the rest is given.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from functools import partial

import grpc
import structlog
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette

from ci_bot.core.rollout import AppState
from ci_bot.errors import ConfigError
from ci_bot.forges.port import Forge
from ci_bot.forges.registry import ForgeSettings, open_forge
from ci_bot.forges.webhooks import EventKind, ForgeEvent
from ci_bot.hub.agents import MAX_MESSAGE_BYTES, AgentLink
from ci_bot.hub.config import (
    HubConfig,
    ProjectSection,
    is_loopback,
    parse_address,
    read_secret,
)
from ci_bot.hub.ledger import Ledger
from ci_bot.hub.projects import HubProject, Projects
from ci_bot.hub.reporter import Reporter, ReporterOptions
from ci_bot.hub.sessions import Sessions
from ci_bot.hub.web import Webhooks, make_metrics_app, make_public_app
from ci_bot.hub.wire import to_app_state
from ci_bot.hub.worker import ProjectWorker, Work
from ci_bot.metrics import OUTBOX_OWED, OUTBOX_QUARANTINED
from ci_bot.store import reports
from ci_bot.store.database import Database
from ci_bot.store.inbox import Delivery
from protos.lockgate.v1 import agent_pb2_grpc as rpc

STOP_GRACE_S = 5
GAUGE_INTERVAL_S = 5
MAX_CONNECTIONS = 2000
log = structlog.get_logger()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: it would end the process before the streams are closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Hub:
    """Everything behind `lockgate serve`."""

    def __init__(self, config: HubConfig, *, insecure_loopback: bool) -> None:
        """Check what can be checked before anything is opened. Raises ConfigError."""
        self._config = config
        host, port = parse_address(config.hub.agents_listen, "agents_listen")
        if not insecure_loopback:
            raise ConfigError(
                "agents cannot connect with TLS yet",
                hint="Give --insecure-loopback to accept agents of this machine without TLS.",
            )
        if not is_loopback(host):
            raise ConfigError(
                f"hub.agents_listen: {host} can be reached from other machines, and agents come without TLS",
                hint="Use a loopback address with --insecure-loopback.",
            )
        self._agents_address = f"{host}:{port}"
        self._marker_secret = read_secret(config.hub.marker_secret_file, "the marker secret")
        self._projects = Projects(tuple(_make_project(each) for each in config.projects))
        self._database = Database(config.hub.database)
        self._sessions = Sessions()
        self._workers: dict[str, ProjectWorker] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        self._database.migrate()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        ledger = Ledger(self._database)
        for project in self._projects:
            self._workers[project.path] = self._make_worker(project)
        webhooks = Webhooks(self._projects, ledger, self._delivery_arrived)
        hub = self._config.hub
        try:
            servers = [
                (_make_server(make_public_app(webhooks)), _bind(hub.web_listen, "web_listen")),
                (_make_server(make_metrics_app()), _bind(hub.metrics_listen, "metrics_listen")),
            ]
            await self._serve(ledger, servers)
        finally:
            for worker in self._workers.values():
                worker.stop(STOP_GRACE_S)
            ledger.close()
            self._database.close()
            log.info("hub stopped")

    async def _serve(self, ledger: Ledger, servers: list[tuple[_Server, socket.socket]]) -> None:
        agents = self._make_agent_server(ledger)
        await agents.start()
        for worker in self._workers.values():
            worker.start()
        async with asyncio.TaskGroup() as group:
            for server, listening in servers:
                group.create_task(server.serve(sockets=[listening]))
            group.create_task(self._watch_outbox(ledger))
            log.info(
                "hub started",
                agents=self._agents_address,
                web=self._config.hub.web_listen,
                metrics=self._config.hub.metrics_listen,
                projects=[project.path for project in self._projects],
            )
            await self._stopping.wait()
            self._sessions.close_all()
            await agents.stop(STOP_GRACE_S)
            for server, _listening in servers:
                server.should_exit = True

    def _make_agent_server(self, ledger: Ledger) -> grpc.aio.Server:
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
                ("grpc.so_reuseport", 0),
            ]
        )
        link = AgentLink(ledger, self._sessions, self._report_changed)
        rpc.add_AgentLinkServicer_to_server(link, server)
        try:
            server.add_insecure_port(self._agents_address)
        except RuntimeError as err:
            raise ConfigError(
                f"hub.agents_listen: {self._agents_address} cannot be listened on",
                hint="Is another hub running there?",
            ) from err
        return server

    # -- what happens -----------------------------------------------------------------------------------------------

    def _delivery_arrived(self, project: HubProject, event: ForgeEvent, delivery: Delivery) -> None:
        if event.kind is EventKind.PUSH:
            told = self._sessions.hint(project.repositories, event.ref, event.default_branch)
            log.info("push arrived", project=project.path, ref=event.ref, agents_told=told)
        self._workers[project.path].ask_delivery(delivery)

    def _report_changed(self, agent: str, app: str) -> None:
        log.info("application reported", agent=agent, application=app)
        for worker in self._workers.values():
            worker.ask(Work("rollouts"))

    def _list_states(self) -> list[AppState]:
        with self._database.read() as connection:
            stored = reports.list_reports(connection)
        connected = self._sessions.is_connected
        return [
            to_app_state(each.body, each.cluster, connected=connected(each.agent))
            for each in stored
        ]

    async def _watch_outbox(self, ledger: Ledger) -> None:
        while not self._stopping.is_set():
            owed = await ledger.count_owed()
            OUTBOX_OWED.set(owed.get(False, 0))
            OUTBOX_QUARANTINED.set(owed.get(True, 0))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), GAUGE_INTERVAL_S)

    # -- making -----------------------------------------------------------------------------------------------------

    def _make_worker(self, project: HubProject) -> ProjectWorker:
        options = ReporterOptions(marker_secret=self._marker_secret.get_secret_value().encode())

        def make_reporter(forge: Forge) -> Reporter:
            return Reporter(project, forge, self._database, self._list_states, options)

        return ProjectWorker(project, self._database, make_reporter, self._config.hub.poll)


def _make_project(section: ProjectSection) -> HubProject:
    token = read_secret(section.token_file, "the forge token")
    secret: SecretStr | None = None
    if section.webhooks and section.webhook_secret_file is not None:
        secret = read_secret(section.webhook_secret_file, "the webhook secret")
    return HubProject(
        path=section.project,
        repositories=tuple(section.repositories),
        open_forge=partial(_open_forge, section, token),
        webhook_secret=secret,
    )


def _open_forge(section: ProjectSection, token: SecretStr, own_ids: tuple[str, ...]) -> Forge:
    return open_forge(
        ForgeSettings(
            kind=section.forge,
            url=section.url,
            project=section.project,
            token=token.get_secret_value(),
            ca_file=str(section.ca_file or os.environ.get("SSL_CERT_FILE", "")),
            own_ids=own_ids,
        )
    )


def _bind(address: str, field: str) -> socket.socket:
    """Return a listening socket; uvicorn would end the process where it cannot have one."""
    host, port = parse_address(address, field)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as err:
        raise ConfigError(
            f"hub.{field}: {address} cannot be listened on: {err.strerror}",
            hint="Is another hub running there?",
        ) from err


def _make_server(app: Starlette) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=STOP_GRACE_S,
            timeout_keep_alive=30,
        )
    )
