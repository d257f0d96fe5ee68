"""Which Application is looked at next: keyed, deduplicating, delayed, one worker a key.

Laws, held by a property test: a key added while it waits is worked once; a key added while it is being worked is worked
again afterwards; a delayed key is never lost and an earlier wish wins over a later one.
"""

import heapq
import threading
import time
from collections.abc import Callable


class WorkQueue:
    """Threads take keys with `take` and give them back with `done`."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._due: dict[str, float] = {}  # the one truth: key -> when
        self._heap: list[tuple[float, str]] = []  # may hold outdated pairs
        self._working: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False

    def add(self, key: str, delay_s: float = 0.0) -> None:
        """Ask for `key` to be worked after `delay_s`, unless an earlier wish already stands."""
        due = self._monotonic() + delay_s
        with self._changed:
            if self._closed or self._due.get(key, due + 1) <= due:
                return
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._changed.notify()

    def forget(self, key: str) -> None:
        """Withdraw every wish for `key`."""
        with self._changed:
            self._due.pop(key, None)

    def take(self, timeout_s: float | None = None) -> str | None:
        """Return a due key that nobody works on; None when closed or nothing came due in time."""
        deadline = None if timeout_s is None else self._monotonic() + timeout_s
        with self._changed:
            while not self._closed:
                key, wait = self._next()
                if key is not None:
                    del self._due[key]
                    self._working.add(key)
                    return key
                if deadline is not None:
                    left = deadline - self._monotonic()
                    if left <= 0:
                        return None
                    wait = left if wait is None else min(wait, left)
                self._changed.wait(wait)
            return None

    def done(self, key: str) -> None:
        """Give `key` back; what was asked for it meanwhile can be taken now."""
        with self._changed:
            self._working.discard(key)
            if key in self._due:
                heapq.heappush(self._heap, (self._due[key], key))
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> tuple[str | None, float | None]:
        """Return a due key, or how long to wait for one."""
        now = self._monotonic()
        while self._heap:
            due, key = self._heap[0]
            if self._due.get(key) != due or key in self._working:
                # Outdated, or in work: `done` puts it back.
                heapq.heappop(self._heap)
                continue
            if due > now:
                return None, due - now
            heapq.heappop(self._heap)
            return key, None
        return None, None
