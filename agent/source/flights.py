"""One fetch for everybody who waits for it.

Whoever asks while a fetch is under way cannot use its answer (it may have looked before the push), but all who ask
meanwhile share the next one.
"""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import AbstractContextManager


class Flights:
    """Shares calls that have not started yet. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, Future[str]] = {}

    def run(
        self, key: Hashable, turn: AbstractContextManager[object], call: Callable[[], str]
    ) -> str:
        """Return what a call that starts after this moment returns; `turn` admits one call at a time."""
        with self._lock:
            flight = self._waiting.get(key)
            leading = flight is None
            if flight is None:
                flight = self._waiting[key] = Future()
        if not leading:
            return flight.result()
        try:
            with turn:
                with self._lock:
                    del self._waiting[key]
                flight.set_result(call())
        except BaseException as err:  # noqa: BLE001 - handed to every waiting caller
            flight.set_exception(err)
        return flight.result()
