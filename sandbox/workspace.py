"""Temporary folders that do not outlive their owner, and orderly ends by signal.

A folder is marked by a lock its owner holds as long as it lives. Whoever makes the next one removes those whose lock
nobody holds: what an owner left that was killed outright.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TextIO

PREFIX = "lockgate-"
LOCK = "owner.lock"
HOLD_TRIES = 20


class Workspace:
    """One temporary folder; removed at the end, but for its logs where `keep_logs()` was called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kept = False

    def keep_logs(self) -> None:
        self.kept = True

    def remove(self) -> None:
        if not self.kept:
            shutil.rmtree(self.root, ignore_errors=True)
            return
        # Keys, tokens and databases go in any case.
        for folder, _, files in os.walk(self.root, topdown=False):
            for name in files:
                if not name.endswith(".log"):
                    Path(folder, name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


@contextlib.contextmanager
def workspace(name: str) -> Iterator[Workspace]:
    """Make `<tmp>/lockgate-<name>-…` for the length of the block."""
    remove_leftovers(name)
    root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{name}-"))
    made = Workspace(root)
    with hold(root / LOCK):
        try:
            yield made
        finally:
            made.remove()


def remove_leftovers(name: str) -> list[Path]:
    """Remove the folders of owners that are gone. A kept one has no lock file and stays."""
    removed = []
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}{name}-*/{LOCK}"):
        with contextlib.suppress(OSError), lock.open() as file:
            if _try_lock(file):
                shutil.rmtree(lock.parent, ignore_errors=True)
                removed.append(lock.parent)
    return removed


@contextlib.contextmanager
def hold(lock: Path) -> Iterator[None]:
    """Hold a lock for the length of the block, then remove its file. Raises BlockingIOError if somebody has it."""
    with lock.open("a") as file:
        # Somebody who only asks (`held`) has it for a blink.
        for _ in range(HOLD_TRIES):
            if _try_lock(file):
                break
            time.sleep(0.02)
        else:
            raise BlockingIOError(f"{lock} is held by another process")
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def held(lock: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        with lock.open() as file:
            return not _try_lock(file)
    except FileNotFoundError:
        return False


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Stopped(BaseException):
    """The process was asked to end; like KeyboardInterrupt it passes `except Exception`."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def orderly_end() -> Iterator[None]:
    """Turn INT, TERM and HUP into one `Stopped`; further ones do not disturb the cleaning up."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
