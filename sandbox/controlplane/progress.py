"""Progress a person can watch and a log can keep: one line a step, with its seconds; a long step moves."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

TICK_S = 1.0
# In a log a line that rewrites itself is noise; a sign of life now and then is enough.
LOG_TICK_S = 30.0


class Progress:
    """Writes to one stream."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        self._out = out
        self._terminal = out.isatty()

    def say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show that `what` is under way, and its seconds at the end."""
        begun, ended = time.monotonic(), threading.Event()
        mover = threading.Thread(target=self._move, args=(what, begun, ended), daemon=True)
        mover.start()
        word = "failed after"
        try:
            yield
            word = "done in"
        finally:
            ended.set()
            mover.join()
            self._line(f"{what} {word} {time.monotonic() - begun:.0f} s", end="\n")

    def _move(self, what: str, begun: float, ended: threading.Event) -> None:
        while not ended.wait(TICK_S if self._terminal else LOG_TICK_S):
            seconds = time.monotonic() - begun
            self._line(f"{what} … {seconds:.0f} s", end="" if self._terminal else "\n")

    def _line(self, text: str, end: str) -> None:
        start = "\r\x1b[K" if self._terminal else ""
        print(f"{start}{text}", end=end, file=self._out, flush=True)
