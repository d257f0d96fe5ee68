"""Runs the git binary: argv only, an allow-listed environment, one deadline, its own process group.

A credential reaches git through a pipe that its credential helper reads once: it is in no argument, no environment
variable and no file. The helper is one line of shell given on the command line; the line names the pipe's number.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.errors import SourceError
from agent.source.credentials import Credential

_STDERR_KEPT = 8192
_PROXIES = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")
# What a repository, a server or a system-wide configuration could otherwise make git do beyond fetching objects.
_SAFETY = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.symlinks=false",
    "-c", "core.fsmonitor=false",
    "-c", "protocol.version=2",
    "-c", "http.followRedirects=false",
    "-c", "http.lowSpeedLimit=100",
    "-c", "http.lowSpeedTime=15",
    "-c", "submodule.recurse=false",
    "-c", "fetch.recurseSubmodules=false",
    "-c", "transfer.fsckObjects=false",
    "-c", "credential.helper=",
    "-c", "gc.auto=0",
    "-c", "repack.writeBitmaps=false",
    "-c", "maintenance.auto=false",
)  # fmt: skip


class Running:
    """The git processes at work now, so that an agent that ends leaves none behind. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def add(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._processes.add(process)
            ended = self._ended
        if ended:
            kill_group(process)

    def discard(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._processes.discard(process)

    def end(self) -> None:
        """Kill what runs, and whatever is started from now on."""
        with self._lock:
            self._ended = True
            running = list(self._processes)
        for process in running:
            kill_group(process)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOptions:
    """What is the same for every git process of the agent."""

    home: Path  # an empty folder: no ~/.gitconfig, no ~/.netrc
    ca_file: Path | None = None
    path: str = os.defpath  # where git is looked for
    protocols: str = "https"
    proxies: tuple[tuple[str, str], ...] = ()
    running: Running = field(default_factory=Running, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitResult:
    code: int
    stdout: bytes
    stderr: str
    timed_out: bool = False


def proxies_from(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Pick the proxy variables git understands; called by the composition root."""
    return tuple((name, environment[name]) for name in _PROXIES if environment.get(name))


def make_environment(options: GitOptions) -> dict[str, str]:
    """Return the whole environment of a git process: nothing of the agent's own is inherited but PATH."""
    environment = {
        "PATH": options.path,
        "HOME": str(options.home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": options.protocols,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        **dict(options.proxies),
    }
    if options.ca_file is not None:
        environment["GIT_SSL_CAINFO"] = str(options.ca_file)
    return environment


def git_command(mirror: Path, arguments: Sequence[str], *, pipe: int | None = None) -> list[str]:
    """Return the argument vector of a git command in a mirror; `pipe` holds a credential."""
    asking = []
    if pipe is not None:
        helper = f'!f() {{ test "$1" = get && cat /dev/fd/{pipe}; }}; f'
        asking = ["-c", f"credential.helper={helper}", "-c", "http.proactiveAuth=basic"]
    return ["git", *_SAFETY, *asking, f"--git-dir={mirror}", *arguments]


def run_git(
    options: GitOptions,
    mirror: Path,
    arguments: Sequence[str],
    *,
    deadline_s: float,
    credential: Credential | None = None,
    stdin: bytes = b"",
) -> GitResult:
    """Run one git command to its end or its deadline; afterwards none of its processes is left."""
    pipe = _pipe_holding(credential) if credential is not None else None
    try:
        process = subprocess.Popen(
            git_command(mirror, arguments, pipe=pipe),
            env=make_environment(options),
            cwd="/",
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=() if pipe is None else (pipe,),
            process_group=0,
        )
    except OSError as err:
        raise SourceError(
            f"git cannot be started: {err.strerror}", hint="install git beside the agent"
        ) from err
    finally:
        if pipe is not None:
            os.close(pipe)
    options.running.add(process)
    try:
        return _finish(process, stdin, deadline_s)
    finally:
        options.running.discard(process)


def _finish(process: subprocess.Popen[bytes], stdin: bytes, deadline_s: float) -> GitResult:
    timed_out = False
    try:
        out, err = process.communicate(stdin or None, timeout=deadline_s)
    except subprocess.TimeoutExpired:
        timed_out = True
        kill_group(process)
        out, err = process.communicate()
    except BaseException:
        kill_group(process)
        process.communicate()
        raise
    return GitResult(
        code=process.returncode,
        stdout=out,
        stderr=err[-_STDERR_KEPT:].decode("utf-8", "replace"),
        timed_out=timed_out,
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a git process and everything it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


def _pipe_holding(credential: Credential) -> int:
    """Return the read end of a pipe that holds a credential and is otherwise closed."""
    reader, writer = os.pipe()
    try:
        text = f"username={credential.user}\npassword={credential.password}\n"
        os.write(writer, text.encode())
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return reader
