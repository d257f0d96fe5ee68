"""Supervised child processes: each has a log file, a process group of its own, and no life beyond its owner's.

Stopping is TERM to the group, a deadline, KILL to the group. When the owner is killed outright the kernel kills the
child (`launch.py`). That request is tied to the *thread* that forked, so every fork is made by one thread that lives
as long as the interpreter.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom

LAUNCHER = Path(__file__).with_name("launch.py")
TAIL_LINES = 15
STOP_DEADLINE_S = 10.0
# Below Linux's range for outgoing connections, so that no client socket takes a port between choice and use.
PORT_RANGE = range(18000, 32000)

_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawn")


class SandboxError(Exception):
    """Something of the sandbox did not come up; the message says what and where its log is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start: a name for people, the argv, where its output goes, and its whole environment."""

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None


@dataclass(slots=True)
class Child:
    """One running program."""

    command: Command
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    def running(self) -> bool:
        return self.process.poll() is None

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> int:
        """End the process and its group; return the exit code (negative: the signal)."""
        stop_all([self], deadline_s)
        return self.process.returncode

    def kill(self) -> None:
        """End the group at once, as a crash would."""
        _signal_group(self, signal.SIGKILL)
        self.process.wait()

    def tail(self) -> str:
        return tail(self.command.log)

    def failure(self, what: str) -> SandboxError:
        """Return an error that says what went wrong, the last lines of the log and where the rest is."""
        return SandboxError(
            f"{self.command.name} {what}\n{self.tail()}\nwhole log: {self.command.log}"
        )


def start(command: Command) -> Child:
    """Start a program; it is not waited for."""
    command.log.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *command.argv]
    return Child(command, _spawner.submit(_popen, argv, command).result())


def _popen(argv: list[str], command: Command) -> subprocess.Popen[bytes]:
    with command.log.open("ab") as log:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if command.env is None else dict(command.env),
            cwd=command.cwd,
            start_new_session=True,
        )


def stop_all(children: Sequence[Child], deadline_s: float = STOP_DEADLINE_S) -> None:
    """End several children at once: TERM to all, one common deadline, then KILL."""
    for child in children:
        _signal_group(child, signal.SIGTERM)
    deadline = time.monotonic() + deadline_s
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, deadline - time.monotonic()))
    for child in children:
        # Also after an orderly end: the group may hold children of the child.
        _signal_group(child, signal.SIGKILL)
        child.process.wait()


def _signal_group(child: Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def wait_until(
    what: str, done: Callable[[], bool], *, children: Sequence[Child], deadline_s: float
) -> float:
    """Poll until `done()`; raise as soon as one of the children has ended, or at the deadline. Returns seconds."""
    begun = time.monotonic()
    while not done():
        for child in children:
            if not child.running():
                raise child.failure(f"ended with {child.process.returncode} before {what}")
        if time.monotonic() - begun > deadline_s:
            raise children[0].failure(f"did not come to {what} in {deadline_s:.0f} s")
        time.sleep(0.03)
    return time.monotonic() - begun


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return "(no log)"


def free_ports(count: int) -> list[int]:
    """Return loopback ports nobody listens on now. Somebody may take one before its use: callers try again."""
    ports: list[int] = []
    for port in _candidates():
        if _free(port):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise SandboxError(
        f"no {count} free loopback ports between {PORT_RANGE[0]} and {PORT_RANGE[-1]}"
    )


def _candidates() -> Iterator[int]:
    yield from SystemRandom().sample(PORT_RANGE, k=min(500, len(PORT_RANGE)))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
