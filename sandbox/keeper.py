"""`up`, `down` and `status` for something that stays up in the background.

A keeper process owns the thing: it holds a lock in the state folder while it lives, writes what people need to know
into `facts.json` once everything is ready, and takes all of it down on TERM. Nothing but the lock says that it runs.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from sandbox.processes import SandboxError, tail
from sandbox.workspace import Stopped, held, hold, orderly_end

UP_DEADLINE_S = 120.0
DOWN_DEADLINE_S = 30.0
Facts = Mapping[str, str]


class Keeper:
    """One background thing, kept by `python -m <module> run`."""

    def __init__(self, module: str, name: str, base: Path | None = None) -> None:
        self.module = module
        self.state = (base or _state_home()) / name
        self.log = self.state / "keeper.log"
        self._lock = self.state / "keeper.lock"
        self._facts = self.state / "facts.json"
        self._pid = self.state / "keeper.pid"

    def running(self) -> bool:
        return held(self._lock)

    def facts(self) -> Facts:
        """What the keeper wrote once it was ready; empty before."""
        if not (self.running() and self._facts.exists()):
            return {}
        return {str(k): str(v) for k, v in json.loads(self._facts.read_text()).items()}

    def up(self, *args: str) -> Facts:
        """Start in the background and wait until ready; if it runs already, just return its facts."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.running():
            self._facts.unlink(missing_ok=True)
            process = self._spawn(*args)
        else:
            process = None
        deadline = time.monotonic() + UP_DEADLINE_S
        while not (facts := self.facts()):
            if process is not None and process.poll() is not None:
                raise SandboxError(f"it did not come up\n{tail(self.log)}\nwhole log: {self.log}")
            if time.monotonic() > deadline:
                raise SandboxError(f"not ready in {UP_DEADLINE_S:.0f} s; log: {self.log}")
            time.sleep(0.1)
        return facts

    def down(self) -> bool:
        """Take it down; return whether it was up."""
        if not self.running():
            return False
        pid = int(self._pid.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + DOWN_DEADLINE_S
        while self.running():
            if time.monotonic() > deadline:
                # Its children are killed by the kernel along with it.
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        return True

    def keep(self, thing: Callable[[Path], AbstractContextManager[Facts]]) -> int:
        """Run `thing(state folder)` until TERM: the keeper process itself. Returns the exit code."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with hold(self._lock), orderly_end():
                self._pid.write_text(str(os.getpid()))
                with contextlib.suppress(Stopped), thing(self.state / "data") as facts:
                    part = self._facts.with_suffix(".part")
                    part.write_text(json.dumps(dict(facts)))
                    part.replace(self._facts)
                    while True:
                        signal.pause()
                for file in (self._facts, self._pid, self.log):
                    file.unlink(missing_ok=True)
        except BlockingIOError:
            print("it runs already", file=sys.stderr)
            return 1
        except SandboxError as error:
            print(error, file=sys.stderr)
            return 1
        return 0

    def _spawn(self, *args: str) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", self.module, "run", *args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _state_home() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "lockgate"
