"""Everything the agent counts, with label values from closed sets.

One object with its own registry, built by the composition root and handed to the parts; each part asks for a small
protocol of its own, so none of them imports Prometheus.
"""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_WHY = frozenset(
    {
        "STREAM_ENDED",
        "NO_WELCOME",
        "INTERNAL",
        "UNAVAILABLE",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
    }
)
_KINDS = frozenset({"welcome", "ack", "hint", "resync"})
_FETCH_RESULTS = frozenset({"ok", "failed", "refused"})
_SECONDS = (0.05, 0.1, 0.2, 0.35, 0.5, 1, 2, 5, 15, 60)


class LinkCounts:
    """What `agent.link.session.LinkMetrics` asks for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._connected = Gauge(
            "lockgate_agent_hub_connected", "1 while the hub's stream is up", registry=registry
        )
        self._lost = Counter(
            "lockgate_agent_hub_reconnects_total",
            "Connections to the hub that ended or failed",
            ["why"],
            registry=registry,
        )
        self._messages = Counter(
            "lockgate_agent_hub_messages_total",
            "Messages from the hub",
            ["kind"],
            registry=registry,
        )
        self._sent = Counter(
            "lockgate_agent_reports_sent_total", "Reports written to the hub", registry=registry
        )
        self._superseded = Counter(
            "lockgate_agent_reports_superseded_total",
            "Reports replaced by a newer one before they were sent",
            registry=registry,
        )
        self._waiting = Gauge(
            "lockgate_agent_outbox_items", "Reports the hub has not confirmed", registry=registry
        )
        self._hints = Counter(
            "lockgate_agent_hints_dropped_total",
            "Hints merged with a waiting one or not understood",
            registry=registry,
        )

    def link_connected(self, *, connected: bool) -> None:
        self._connected.set(1 if connected else 0)

    def link_reconnected(self, why: str) -> None:
        self._lost.labels(why=why if why in _WHY else "OTHER").inc()

    def hub_message(self, kind: str) -> None:
        self._messages.labels(kind=kind if kind in _KINDS else "unknown").inc()

    def report_sent(self) -> None:
        self._sent.inc()

    def report_superseded(self) -> None:
        self._superseded.inc()

    def outbox_size(self, size: int) -> None:
        self._waiting.set(size)

    def hint_dropped(self) -> None:
        self._hints.inc()


class SourceCounts:
    """Fetches by result and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._fetches = Counter(
            "lockgate_agent_git_fetches_total", "git fetches", ["result"], registry=registry
        )
        self._seconds = Histogram(
            "lockgate_agent_git_fetch_seconds",
            "Time of a git fetch",
            buckets=_SECONDS,
            registry=registry,
        )

    def fetched(self, result: str, seconds: float) -> None:
        self._fetches.labels(result=result if result in _FETCH_RESULTS else "failed").inc()
        self._seconds.observe(seconds)


class AgentMetrics:
    """All of the agent's metrics behind one registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.link = LinkCounts(self.registry)
        self.source = SourceCounts(self.registry)

    def render(self) -> bytes:
        """Return the exposition text."""
        return bytes(generate_latest(self.registry))


class MetricsServer:
    """`/metrics` and `/healthz` on an address of their own; loopback unless somebody says otherwise."""

    def __init__(self, host: str, port: int, render: Callable[[], bytes]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path not in {"/metrics", "/healthz"}:
                    self.send_error(404)
                    return
                text = render() if self.path == "/metrics" else b"ok\n"
                self.send_response(200)
                self.send_header("Content-Type", CONTENT_TYPE_LATEST)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Scrapes are not events."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; the port is the real one also when 0 was asked for."""
        host, port = self._server.server_address[:2]
        return str(host), port

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2)
