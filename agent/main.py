"""The agent, put together: configuration in, adapters built, signals owned, everything ended in order.

The loop owns signals and the link to the hub; reconciling happens in the engine's threads. Without a hub the same
agent runs, one part less.
"""

import asyncio
import os
import random
import secrets
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack

import structlog

from agent.cluster.kube import KubeCluster, KubeOptions
from agent.cluster.metrics import ClusterMetrics
from agent.cluster.port import Cluster, Kind, Place
from agent.config import Settings
from agent.core.report import ApplicationGone, ApplicationReport
from agent.errors import AgentError, ClusterUnavailableError, ConfigError
from agent.link.session import Identity, Link, LinkOptions
from agent.logs import Redaction, configure_logs
from agent.metrics import AgentMetrics, MetricsServer
from agent.reconcile.engine import Engine, EngineMeters
from agent.reconcile.metrics import EngineMetrics
from agent.reconcile.options import ReconcileOptions, ReportSink
from agent.source.cache import CacheFolder
from agent.source.credentials import CredentialFile
from agent.source.git import GitSource, GitSourceOptions
from agent.source.process import GitOptions, proxies_from

_STOP_WITHIN_S = 10.0
_DRAIN_WITHIN_S = 3.0
_CLUSTER_PAUSE_S = 2.0
_KUBE_SYSTEM = Place(
    kind=Kind(api_version="v1", kind="Namespace", plural="namespaces", namespaced=False),
    name="kube-system",
)


def run_agent(settings: Settings, *, version: str) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code."""
    redaction = configure_logs(debug=bool(os.environ.get("LOCKGATE_AGENT_DEBUG")))
    log = structlog.get_logger("agent").bind(agent=settings.cluster)
    try:
        return asyncio.run(_Agent(settings, version, redaction).run())
    except AgentError as error:
        log.error("agent failed", reason=error.reason, error=str(error), hint=error.hint)  # noqa: TRY400 - an error a person can act on; the traceback says nothing more
        return 2 if isinstance(error, ConfigError) else 1
    except Exception:
        log.exception("agent crashed")
        return 1


def make_source(
    settings: Settings, redaction: Redaction, metrics: AgentMetrics, closing: ExitStack
) -> GitSource:
    """Build the git source; warns of a credential file that others can read, fails on a wrong one."""
    credentials = CredentialFile(settings.git_credential)
    redaction.know([credential.password for credential in credentials.load()])
    warning = credentials.open_to_others()
    if warning:
        structlog.get_logger("agent").warning("credential file open to others", detail=warning)
    cache = CacheFolder(settings.cache_dir)
    closing.callback(cache.close)
    home = cache.path / "home"
    home.mkdir(exist_ok=True)
    git = GitOptions(
        home=home,
        ca_file=settings.ca_file,
        path=os.environ.get("PATH", os.defpath),
        proxies=proxies_from(os.environ),
    )
    source = GitSource(
        GitSourceOptions(
            cache_dir=cache.path / "git",
            git=git,
            credentials=credentials,
            on_fetch=metrics.source.fetched,
        )
    )
    closing.callback(source.close)
    return source


async def _unless_stopped(work: Coroutine[None, None, str], stop: asyncio.Event) -> str | None:
    """Return what the work returns, or None if the agent is told to stop first."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        return task.result()
    task.cancel()
    return None


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Agent:
    def __init__(self, settings: Settings, version: str, redaction: Redaction) -> None:
        self._settings = settings
        self._version = version
        self._redaction = redaction
        self._metrics = AgentMetrics()
        self._log = structlog.get_logger("agent").bind(agent=settings.cluster)

    async def run(self) -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        settings = self._settings
        with ExitStack() as closing:
            source = make_source(settings, self._redaction, self._metrics, closing)
            meters = EngineMeters(
                engine=EngineMetrics(self._metrics.registry),
                cluster=ClusterMetrics(self._metrics.registry),
            )
            cluster = KubeCluster(
                KubeOptions(kubeconfig=settings.kubeconfig), metrics=meters.cluster
            )
            self._serve_metrics(closing)
            uid = await _unless_stopped(self._find_cluster_uid(cluster), stop)
            if uid is None:
                return 0
            self._log.info("agent started", version=self._version, hub=settings.hub or "none")
            async with AsyncExitStack() as ending:
                link = await self._link(uid, ending)
                engine = self._engine(cluster, source, link.report, meters)
                link.on_hint = engine.refresh
                engine.start()
                await stop.wait()
                self._log.info("agent stopping")
                ended = await asyncio.to_thread(engine.stop, _STOP_WITHIN_S)
                if link.link is not None:
                    await link.link.drain(_DRAIN_WITHIN_S)
            self._log.info("agent stopped", in_time=ended)
        return 0

    def _engine(
        self, cluster: Cluster, source: GitSource, report: ReportSink, meters: EngineMeters
    ) -> Engine:
        settings = self._settings
        options = ReconcileOptions(
            namespaces=settings.namespaces,
            home_namespace=settings.home_namespace,
            # Agents that started together do not ask the git server together for ever.
            poll_interval_s=settings.poll_s * random.uniform(0.9, 1.0),  # noqa: S311 - spreading, not secrecy
            take_over=settings.take_over,
            cluster_name=settings.cluster,
        )
        return Engine(cluster, source, report, options, meters=meters)

    def _serve_metrics(self, closing: ExitStack) -> None:
        if self._settings.metrics is None:
            return
        host, port = self._settings.metrics
        try:
            server = MetricsServer(host, port, self._metrics.render)
        except OSError as err:
            raise ConfigError(
                f"--metrics-listen {host}:{port}: {err.strerror}",
                hint="choose another address, or off",
            ) from err
        closing.callback(server.close)
        self._log.info("metrics served", address="{}:{}".format(*server.address))

    async def _find_cluster_uid(self, cluster: Cluster) -> str:
        told = ""
        while True:
            try:
                found = await asyncio.to_thread(cluster.find, _KUBE_SYSTEM)
            except ClusterUnavailableError as error:
                if str(error) != told:
                    self._log.warning("cluster not reachable", error=str(error))
                    told = str(error)
                await asyncio.sleep(_CLUSTER_PAUSE_S)
                continue
            except ConfigError:
                raise
            except AgentError as error:
                self._log.warning("cluster uid unknown", error=str(error), hint=error.hint)
                return ""
            return str((found or {}).get("metadata", {}).get("uid", ""))

    async def _link(self, uid: str, ending: AsyncExitStack) -> "_Outlet":
        outlet = _Outlet()
        if not self._settings.hub:
            return outlet
        identity = Identity(
            agent_id=self._settings.cluster,  # until enrolment gives it one of its own
            epoch=secrets.token_hex(16),
            version=self._version,
            cluster=self._settings.cluster,
            cluster_uid=uid,
        )
        options = LinkOptions(target=self._settings.hub, identity=identity)
        outlet.link = Link(options, outlet.hint, self._metrics.link)
        task = asyncio.create_task(outlet.link.run(), name="link")
        ending.push_async_callback(_end, task)
        return outlet


class _Outlet:
    """Joins link and engine, which need each other; without a hub it leads nowhere."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.on_hint: Callable[[str, str], object] | None = None

    def report(self, item: ApplicationReport | ApplicationGone) -> None:
        if self.link is not None:
            self.link.report(item)

    def hint(self, repo: str, ref: str) -> None:
        if self.on_hint is not None:
            self.on_hint(repo, ref)
