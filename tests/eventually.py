"""Wait for a condition with a deadline; nothing about behaviour is asserted by sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

from sandbox.controlplane.plane import KubectlError
from sandbox.demo_screen import NotYet

T = TypeVar("T")


def eventually(check: Callable[[], T], *, deadline_s: float = 30.0) -> T:
    """Return what `check` returns once it no longer raises NotYet, AssertionError or a kubectl error."""
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            return check()
        except (NotYet, AssertionError, KubectlError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)
