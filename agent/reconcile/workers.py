"""The threads that look at Applications, and what happens when a look fails.

Supervisors: nothing that goes wrong with one Application stops another or ends a thread.
"""

import random
import threading
import time
from collections.abc import Callable

import structlog

from agent.errors import AgentError, ClusterUnavailableError
from agent.reconcile.metrics import EngineMetrics
from agent.reconcile.queue import WorkQueue
from agent.reconcile.state import Registry

_FIRST_S = 0.5
_LONGEST_S = 60.0

Look = Callable[[str], float | None]


class Workers:
    """A fixed number of threads over one queue."""

    def __init__(
        self, queue: WorkQueue, look: Look, registry: Registry, metrics: EngineMetrics, count: int
    ) -> None:
        self._queue = queue
        self._look = look
        self._registry = registry
        self._metrics = metrics
        self._log = structlog.get_logger("agent.reconcile")
        self._threads = [
            threading.Thread(target=self._run, name=f"reconcile-{index}", daemon=True)
            for index in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for all to end after the queue was closed; tells whether they did."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (key := self._queue.take()) is not None:
            try:
                self._one(key)
            finally:
                self._queue.done(key)

    def _one(self, key: str) -> None:
        begun = time.monotonic()
        outcome = "done"
        try:
            again_s = self._look(key)
            self._failures(key, 0)
        except AgentError as error:
            outcome = "failed"
            again_s = self._back_off(key, error)
            self._log.warning("look failed", application=key, reason=error.reason, error=str(error))
        except Exception:  # noqa: BLE001 - a supervisor
            # A defect in one look must not end the others.
            outcome = "crashed"
            self._metrics.crashes.labels(where="reconcile").inc()
            again_s = self._back_off(key, None)
            self._log.exception("look crashed", application=key)
        self._metrics.reconciles.labels(outcome=outcome).inc()
        self._metrics.seconds.observe(time.monotonic() - begun)
        if again_s is not None:
            self._queue.add(key, again_s)

    def _back_off(self, key: str, error: AgentError | None) -> float:
        """Return how long to leave an Application alone after a failure."""
        state = self._registry.find_app(key)
        count = self._failures(key, 1 if state is None else state.failures + 1)
        delay: float = min(_FIRST_S * 2 ** min(count - 1, 10), _LONGEST_S)
        if isinstance(error, ClusterUnavailableError) and error.retry_after_s:
            delay = max(delay, error.retry_after_s)
        delay *= random.uniform(0.8, 1.2)  # noqa: S311  # jitter
        self._metrics.requeues.labels(why="failure").inc()
        if state is not None:
            state.not_before = time.monotonic() + delay
        return delay

    def _failures(self, key: str, count: int) -> int:
        state = self._registry.find_app(key)
        if state is not None:
            state.failures = count
            if count == 0:
                state.not_before = 0.0
        return count
