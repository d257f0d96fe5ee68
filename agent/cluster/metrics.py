"""Counts of what the agent asks of the API server: the "0 requests" claims are read from here."""

from prometheus_client import CollectorRegistry, Counter


class ClusterMetrics:
    """Requests and watch reopenings; labels come from closed sets."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._requests = Counter(
            "lockgate_agent_cluster_requests",
            "Requests to the API server.",
            ["verb", "code"],
            registry=registry,
        )
        self._waits = Counter(
            "lockgate_agent_cluster_throttled",
            "Requests the API server asked to repeat later (429).",
            registry=registry,
        )
        self._reopens = Counter(
            "lockgate_agent_watch_reopens",
            "Watches opened again, by what ended the one before.",
            ["why"],
            registry=registry,
        )

    def count_request(self, verb: str, code: int) -> None:
        """Count one answer; `code` 0 means none came."""
        self._requests.labels(verb=verb, code=str(code)).inc()

    def count_wait(self) -> None:
        self._waits.inc()

    def count_reopen(self, why: str) -> None:
        """Count one reopened watch; `why` is ended, expired, failed or silent."""
        self._reopens.labels(why=why).inc()
