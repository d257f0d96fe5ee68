"""Counts and times of reconciling; labels come from closed sets."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class EngineMetrics:
    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.reconciles = Counter(
            "lockgate_agent_reconciles", "Looks at an Application.", ["outcome"], registry=registry
        )
        self.seconds = Histogram(
            "lockgate_agent_reconcile_seconds",
            "How long a look took.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.writes = Counter(
            "lockgate_agent_object_writes",
            "Writes of managed objects.",
            ["action"],
            registry=registry,
        )
        self.drift = Counter(
            "lockgate_agent_drift", "Owned fields found changed.", registry=registry
        )
        self.requeues = Counter(
            "lockgate_agent_requeues", "Looks asked for again, by why.", ["why"], registry=registry
        )
        self.crashes = Counter(
            "lockgate_agent_crashes",
            "Errors nobody foresaw, by where.",
            ["where"],
            registry=registry,
        )
