"""The git binary as a subprocess: argv only, a clean environment, a deadline on everything.

Nothing of the caller's environment or configuration reaches git but PATH, HOME, the proxy and the CA file; hooks,
templates, submodules and LFS stay off. A failed network command is translated once, here, into the error whose
hint says what to do.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ci_bot.errors import (
    ForgeAuthError,
    GitError,
    GitTimeoutError,
    PushRacedError,
    UsageError,
)
from ci_bot.repo.askpass import answering
from ci_bot.repo.urls import scrub

_KEPT = (
    "PATH", "HOME", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "SSH_AUTH_SOCK",
    "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY",
)  # fmt: skip
_AUTH = re.compile(
    r"Authentication failed|could not read (?:Username|Password)|HTTP Basic: Access denied"
    r"|terminal prompts disabled|returned error: 401|Invalid username or (?:password|token)"
)
_FORBIDDEN = re.compile(
    r"returned error: 403|not allowed to push|protected branch|pre-receive hook declined"
)
_MISSING = re.compile(r"not found|does not exist|returned error: 404|Could not read from remote")
_BRANCH_MISSING = re.compile(r"couldn't find remote ref (\S+)")
_RACED = re.compile(
    r"stale info|fetch first|non-fast-forward|reference already exists|failed to update ref|"
    r"is at [0-9a-f]+ but expected|remote ref updated since checkout"
)
_PARENT = re.compile(r"'(refs/heads/[^']+)' exists; cannot create")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Who we are to the git server; the password goes through a pipe."""

    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """git in one bare repository."""

    folder: Path
    credential: Credential = field(default_factory=Credential)
    ca_file: str = ""
    protocols: str = "https:ssh"
    timeout_s: float = 90.0

    def local(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        """Run a command that asks no server; returns what it printed."""
        code, out, err = self._run(arguments, stdin, Credential())
        if code:
            raise GitError(f"git {arguments[0]} failed: {self._clean(err)}")
        return out

    def remote(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        """Run a command that talks to the server, with the credential."""
        code, out, err = self._run(arguments, stdin, self.credential)
        if code:
            raise self._translate(arguments[0], out, err)
        return out

    def _clean(self, text: bytes) -> str:
        return scrub(text.decode(errors="replace"), self.credential.password) or "no message"

    def _translate(
        self, command: str, out: bytes, err: bytes
    ) -> GitError | ForgeAuthError | UsageError:
        raw = (out + b"\n" + err).decode(errors="replace")
        text = self._clean(raw.encode())
        if parent := _PARENT.search(raw):
            return UsageError(
                f"the branch {parent[1].removeprefix('refs/heads/')!r} is in the way of our branches",
                hint="delete or rename it; git keeps branches in folders and cannot have both",
            )
        if command == "push" and _RACED.search(raw):
            return PushRacedError("somebody pushed meanwhile")
        if _AUTH.search(raw):
            return ForgeAuthError(
                f"the git server refuses the token ({command})",
                hint="check LOCKGATE_TOKEN: not expired, scope write_repository (and api)",
            )
        if missing := _BRANCH_MISSING.search(raw):
            name = missing[1].removeprefix("refs/heads/")
            return GitError(f"the config repository has no branch {name!r}")
        if _FORBIDDEN.search(raw):
            return ForgeAuthError(
                f"the token may not {command}: {text}",
                hint="it needs the Developer role and scope write_repository; "
                "lockgate/* must not be a protected branch for it",
            )
        hint = "check --forge-url and --project" if _MISSING.search(raw) else ""
        return GitError(f"git {command} failed: {text}", hint=hint)

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        fixed = {
            "GIT_DIR": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": self.protocols,
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
            "GCM_INTERACTIVE": "never",
            "LC_ALL": "C",
        }
        if self.ca_file:
            fixed["GIT_SSL_CAINFO"] = self.ca_file
        return kept | fixed

    def _run(
        self, arguments: Sequence[str], stdin: bytes | None, credential: Credential
    ) -> tuple[int, bytes, bytes]:
        with answering(credential.password, self.folder) as asked:
            process = start(
                ["git", *arguments], self._environment() | asked.environment, asked.descriptors
            )
            with ended(process):
                try:
                    out, err = process.communicate(stdin, timeout=self.timeout_s)
                except subprocess.TimeoutExpired as err_timeout:
                    raise GitTimeoutError(
                        f"git {arguments[0]} did not end within {self.timeout_s:.0f} s",
                        hint="the server is slow or hangs; run again, or raise --timeout",
                    ) from err_timeout
        return process.returncode, out, err

    def reading(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command whose output is read as a stream; the caller ends it with `ended`."""
        return start(["git", *arguments], self._environment(), ())


def start(
    arguments: Sequence[str], environment: dict[str, str], descriptors: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    """Start git in a process group of its own, so that its helpers end with it."""
    try:
        return subprocess.Popen(
            arguments,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            process_group=None if os.name == "nt" else 0,
        )
    except FileNotFoundError as err:
        raise UsageError("git is not installed", hint="install git and put it on PATH") from err


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave no process behind, whatever happens inside."""
    try:
        yield
    finally:
        if process.poll() is None:
            with contextlib.suppress(OSError):
                if os.name == "nt":
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
