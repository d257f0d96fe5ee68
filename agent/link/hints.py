"""Lets a hub's hints through at a bearable rate. A hint only ever means "look at git now".

One token bucket a repository: a burst passes, a flood becomes one look a second. The last hint of a flood is never
lost, it waits for the next token; the number of repositories remembered is bounded.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from agent.core.repositories import find_key

_BURST = 5.0
_PER_SECOND = 1.0
_MOST_REPOSITORIES = 256
_LONGEST = 1024

Schedule = Callable[[float, Callable[[], None]], object]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float
    waiting: tuple[str, str] | None = None


class HintGate:
    """Calls `on_hint(repo, ref)`; `schedule(delay_s, call)` runs a call later. For one thread."""

    def __init__(
        self,
        on_hint: Callable[[str, str], object],
        *,
        clock: Callable[[], float],
        schedule: Schedule,
    ) -> None:
        self._on_hint = on_hint
        self._clock = clock
        self._schedule = schedule
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, repo: str, ref: str) -> bool:
        """Pass a hint on now or a little later; returns False where it was dropped or merged."""
        key = find_key(repo)
        if key is None or len(ref) > _LONGEST or not ref.isprintable():
            return False
        bucket = self._bucket(key)
        if bucket.waiting is not None:
            # Two refs merged into one look: an empty ref means all of the repository.
            bucket.waiting = (repo, ref if bucket.waiting[1] == ref else "")
            return False
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            self._on_hint(repo, ref)
            return True
        bucket.waiting = (repo, ref)
        self._schedule((1.0 - bucket.tokens) / _PER_SECOND, lambda: self._release(key))
        return True

    def _release(self, key: str) -> None:
        bucket = self._bucket(key)
        waiting, bucket.waiting = bucket.waiting, None
        if waiting is not None:
            bucket.tokens = max(0.0, bucket.tokens - 1.0)
            self._on_hint(*waiting)

    def _bucket(self, key: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.pop(key, None) or _Bucket(_BURST, now)
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.at) * _PER_SECOND)
        bucket.at = now
        self._buckets[key] = bucket
        if len(self._buckets) > _MOST_REPOSITORIES:
            idle = next((k for k, b in self._buckets.items() if b.waiting is None), key)
            self._buckets.pop(idle)
        return bucket
