"""A cache folder for one process: agents on one machine that are given the same folder do not share mirrors."""

import fcntl
from pathlib import Path
from typing import IO

from agent.errors import ConfigError

_MOST = 64


class CacheFolder:
    """The first place below a folder that no living process holds; held until closed or the process ends."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock, self.path = _claim(folder)
            self.path.mkdir(exist_ok=True)
        except OSError as err:
            raise ConfigError(
                f"--cache-dir {folder}: {err.strerror}", hint="name a writable folder"
            ) from err

    def close(self) -> None:
        self._lock.close()


def _claim(folder: Path) -> tuple[IO[bytes], Path]:
    for number in range(_MOST):
        lock = (folder / f"{number}.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return lock, folder / str(number)
    raise ConfigError(f"--cache-dir {folder}: {_MOST} agents use it already")
