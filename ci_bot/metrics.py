"""The hub's metrics. Label values come from closed sets only."""

from prometheus_client import Counter, Gauge, Histogram

AGENTS_CONNECTED = Gauge("lockgate_agents_connected", "Agents with an open stream")
REPORTS = Counter("lockgate_reports", "Reports by what became of them", ["outcome"])
HINTS_SENT = Counter("lockgate_hints_sent", "Refresh hints put on a stream")
HINTS_DROPPED = Counter("lockgate_hints_dropped", "Refresh hints an agent had no room for")
STREAMS_ENDED = Counter("lockgate_streams_ended", "Agent streams by why they ended", ["reason"])
DELIVERIES = Counter(
    "lockgate_deliveries", "Webhook deliveries by what became of them", ["outcome"]
)
DELIVERY_SECONDS = Histogram(
    "lockgate_delivery_seconds",
    "From a delivery's first byte to its hint",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)
FORGE_WRITES = Counter("lockgate_forge_writes", "Writes to a forge", ["kind", "outcome"])
WORK_FAILED = Counter("lockgate_work_failed", "Pieces of work that failed and will be tried again")
OUTBOX_OWED = Gauge("lockgate_outbox_owed", "Forge writes that are owed")
OUTBOX_QUARANTINED = Gauge("lockgate_outbox_quarantined", "Forge writes that need a person")
