"""Reads git objects through one long-lived `git cat-file`, so that a look costs no process.

Trees are parsed here instead of by `ls-tree`: a walk needs one round trip a level. Objects that a partial clone does
not have are answered as missing; nothing here ever goes to the network.
"""

import os
import select
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SourceError
from agent.source.process import GitOptions, git_command, kill_group, make_environment

_ANSWER_WITHIN_S = 30.0
_PIPELINED = 400  # requests written before the answers are read: below a pipe's 64 KiB

DIRECTORY, SYMLINK, SUBMODULE = 0o040000, 0o120000, 0o160000


class UnreadableError(SourceError):
    """The mirror lacks or damaged an object it should have; it is made anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitObject:
    oid: str
    kind: str  # commit | tree | blob | tag
    size: int
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    mode: int
    name: str
    oid: str


def parse_tree(data: bytes, oid_bytes: int) -> Iterator[TreeEntry]:
    """Parse the content of a tree object; names that are not UTF-8 keep their bytes as surrogates."""
    at = 0
    while at < len(data):
        blank = data.index(b" ", at)
        end = data.index(b"\0", blank)
        stop = end + 1 + oid_bytes
        yield TreeEntry(
            mode=int(data[at:blank], 8),
            name=data[blank + 1 : end].decode("utf-8", "surrogateescape"),
            oid=data[end + 1 : stop].hex(),
        )
        at = stop


class ObjectReader:
    """One `git cat-file --batch-command` of one mirror. Thread-safe; starts when needed, restarts when it died."""

    def __init__(self, options: GitOptions, mirror: Path) -> None:
        self._options = options
        self._mirror = mirror
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()
        self._deadline = 0.0

    def close(self) -> None:
        """End the process; the next read starts another."""
        with self._lock:
            self._stop()

    def find_info(self, names: Sequence[str]) -> list[GitObject | None]:
        """Return kind and size of each object, None where it is missing."""
        return self._ask("info", names)

    def find(self, names: Sequence[str]) -> list[GitObject | None]:
        """Return each object with its content, None where it is missing."""
        return self._ask("contents", names)

    def _ask(self, command: str, names: Sequence[str]) -> list[GitObject | None]:
        if any("\n" in name for name in names):
            raise SourceError("a path with a line break cannot be looked up")
        with self._lock:
            try:
                return [
                    answer
                    for at in range(0, len(names), _PIPELINED)
                    for answer in self._ask_some(command, names[at : at + _PIPELINED])
                ]
            except (OSError, EOFError, ValueError) as err:
                self._stop()
                raise UnreadableError(
                    "the local copy of the repository cannot be read", hint="it is made anew"
                ) from err
            except BaseException:
                self._stop()
                raise

    def _ask_some(self, command: str, names: Sequence[str]) -> list[GitObject | None]:
        process = self._ensure_running()
        assert process.stdin is not None  # noqa: S101 - opened with PIPE; narrows the type
        self._deadline = time.monotonic() + _ANSWER_WITHIN_S
        request = "".join(f"{command} {name}\n" for name in names)
        left = memoryview(request.encode("utf-8", "surrogateescape"))
        while left:
            left = left[process.stdin.write(left) or 0 :]
        return [self._read_answer(with_data=command == "contents") for _ in names]

    def _read_answer(self, *, with_data: bool) -> GitObject | None:
        header = self._read_line().decode("utf-8", "replace")
        words = header.rsplit(" ", 2)
        if header.endswith((" missing", " ambiguous")) or len(words) != 3 or not words[2].isdigit():
            return None
        oid, kind, size = words[0], words[1], int(words[2])
        data = self._read_exactly(size + 1)[:size] if with_data else b""
        return GitObject(oid=oid, kind=kind, size=size, data=data)

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _fill(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            raise EOFError
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        if not poll.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
            raise EOFError
        chunk = os.read(process.stdout.fileno(), 1 << 16)
        if not chunk:
            raise EOFError
        self._buffer += chunk

    def _ensure_running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        self._process = subprocess.Popen(
            git_command(self._mirror, ["cat-file", "--batch-command"]),
            env=make_environment(self._options),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            process_group=0,
        )
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        self._buffer.clear()
        if process is None:
            return
        kill_group(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.wait()


def by_oid(objects: Sequence[GitObject | None]) -> Mapping[str, GitObject]:
    """Index the objects that are there."""
    return {found.oid: found for found in objects if found is not None}
