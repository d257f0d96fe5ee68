"""A config repository worked on as git objects: no checkout, and nothing read that is not needed.

A temporary bare repository takes a shallow, blobless fetch of the target and the rolling branches; the YAML files
below one path are listed from the tree and fetched in one batch; the new commit is written by `git fast-import`
and pushed with a lease on the commit the branch had when we looked.
"""

import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ci_bot.errors import GitError, GitTimeoutError
from ci_bot.repo.git import Git, ended
from ci_bot.repo.urls import check_branch, with_user

DEPTH = 100
_OURS = "refs/lockgate/"
_DEFAULT = f"{_OURS}default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file in a tree."""

    path: str
    mode: str
    oid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    sha: str
    parents: tuple[str, ...]
    author: str
    email: str
    at: int  # committer's time, seconds since the epoch
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCommit:
    parent: str
    name: str
    email: str
    at: int
    message: str
    files: Mapping[str, tuple[str, bytes]]  # path -> (mode, content)


class Workspace:
    """One config repository; a context manager, because it is a temporary folder."""

    def __init__(self, url: str, git: Git) -> None:
        self._git = git
        self._url = with_user(url, git.credential.username)
        self._fetched: set[str] = set()

    @classmethod
    def open(cls, url: str, git_options: Git) -> "Workspace":
        """Make the temporary repository; nothing is fetched yet. `git_options.folder` is replaced."""
        folder = Path(tempfile.mkdtemp(prefix="lockgate-"))
        git = Git(
            folder=folder,
            credential=git_options.credential,
            ca_file=git_options.ca_file,
            protocols=git_options.protocols,
            timeout_s=git_options.timeout_s,
        )
        workspace = cls(url, git)
        try:
            workspace._prepare()
        except BaseException:
            workspace.close()
            raise
        return workspace

    def _prepare(self) -> None:
        """Write the bare repository by hand: `git init` and six `git config` would cost seven processes."""
        folder = self._git.folder
        for name in ("objects/pack", "objects/info", "refs/heads"):
            (folder / name).mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/lockgate-none\n", encoding="ascii")
        (folder / "config").write_text(
            "[core]\n\trepositoryformatversion = 1\n\tbare = true\n"
            "\thooksPath = /dev/null\n\tlogAllRefUpdates = false\n\tfsync = none\n"
            "[extensions]\n\tpartialClone = origin\n"
            "[credential]\n\thelper =\n"
            "[http]\n\tfollowRedirects = false\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 30\n"
            "[fetch]\n\trecurseSubmodules = false\n\twriteCommitGraph = false\n"
            "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"
            "[transfer]\n\tfsckObjects = false\n"
            "[protocol]\n\tversion = 2\n"
            f'[remote "origin"]\n\turl = {self._url}\n\tpromisor = true\n'
            "\tpartialclonefilter = blob:none\n\ttagOpt = --no-tags\n",
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        shutil.rmtree(self._git.folder, ignore_errors=True)

    def fetch(self, *, target: str = "", rolling: str = "") -> str:
        """Fetch target (empty: the default branch) and the branches that begin with `rolling`.

        Returns the target's commit. A branch that is gone on the server is gone here too.
        """
        source = f"refs/heads/{check_branch(target)}" if target else "HEAD"
        specs = [f"+{source}:{_DEFAULT}"]
        if rolling:
            check_branch(rolling)
            specs.append(f"+refs/heads/{rolling}*:{_OURS}heads/{rolling}*")
        self._git.remote(
            "fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head",
            f"--depth={DEPTH}", "--filter=blob:none", "--end-of-options", "origin", *specs,
        )  # fmt: skip
        return self.get_ref(_DEFAULT)

    def get_ref(self, ref: str) -> str:
        return self._git.local("rev-parse", "--verify", "--end-of-options", ref).decode().strip()

    def list_rolling(self, branch: str) -> dict[str, str]:
        """Return the fetched branches that begin with `branch`, with their commits."""
        out = self._git.local(
            "for-each-ref", "--format=%(refname) %(objectname)", f"{_OURS}heads/"
        ).decode()
        refs = dict(line.split(" ") for line in out.splitlines())
        start = len(f"{_OURS}heads/")
        return {name[start:]: sha for name, sha in refs.items() if name[start:].startswith(branch)}

    def list_files(self, commit: str, path: str = ".") -> list[Entry]:
        """Return every entry below a path of a commit; a path that is not there has none."""
        where = [] if path == "." else ["--", path]
        out = self._git.local("ls-tree", "-r", "-z", "--full-tree", commit, *where)
        entries = []
        for line in filter(None, out.split(b"\0")):
            meta, _, name = line.partition(b"\t")
            mode, _, oid = meta.decode().split(" ")
            entries.append(Entry(path=name.decode(errors="surrogateescape"), mode=mode, oid=oid))
        return entries

    def list_folder(self, commit: str, paths: Sequence[str]) -> list[Entry]:
        """Return the entries of a commit at exactly these paths, files and folders."""
        out = self._git.local("ls-tree", "-z", "--full-tree", commit, "--", *paths)
        found = []
        for line in filter(None, out.split(b"\0")):
            meta, _, name = line.partition(b"\t")
            mode, _, oid = meta.decode().split(" ")
            found.append(Entry(path=name.decode(errors="surrogateescape"), mode=mode, oid=oid))
        return found

    def fetch_blobs(self, oids: Sequence[str]) -> None:
        """Fetch what is not here yet, in one round trip."""
        # Asking git what is missing would make it fetch one by one, so we remember what we asked for.
        missing = [oid for oid in dict.fromkeys(oids) if oid not in self._fetched]
        if missing:
            self._fetched.update(missing)
            self._git.remote(
                "-c", "fetch.negotiationAlgorithm=noop", "fetch", "--quiet", "--no-tags",
                "--no-write-fetch-head", "--recurse-submodules=no", "--filter=blob:none",
                "--stdin", "origin", stdin="\n".join(missing).encode() + b"\n",
            )  # fmt: skip

    def read_blobs(self, oids: Sequence[str], *, most: int) -> Iterator[tuple[str, bytes | int]]:
        """Yield each blob's content, or its size where it is larger than `most`; one is in memory at a time."""
        if not oids:
            return
        process = self._git.reading("cat-file", "--batch")
        alarm = threading.Timer(self._git.timeout_s, process.kill)
        alarm.daemon = True
        alarm.start()
        try:
            with ended(process):
                if process.stdin is None or process.stdout is None:
                    raise GitError("git cat-file gave no pipes")
                for oid in oids:
                    process.stdin.write(oid.encode() + b"\n")
                    process.stdin.flush()
                    header = process.stdout.readline().split()
                    if len(header) != 3:
                        raise GitTimeoutError(f"git cat-file did not return {oid}")
                    yield oid, _body(process.stdout, int(header[2]), most)
        finally:
            alarm.cancel()

    def get_commit(self, sha: str) -> Commit:
        return self.list_history(sha, most=1)[0]

    def list_history(self, commit: str, *, most: int = DEPTH, path: str = "") -> list[Commit]:
        """Return commits reachable from one, newest first, as far as they were fetched."""
        where = ["--", path] if path else []
        out = self._git.local(
            "log", "-z", f"--max-count={most}", "--format=%H%x00%P%x00%an%x00%ae%x00%ct%x00%B",
            "--end-of-options", commit, *where,
        )  # fmt: skip
        fields = out.decode(errors="replace").split("\0")
        return [
            Commit(
                sha=fields[at],
                parents=tuple(fields[at + 1].split()),
                author=fields[at + 2],
                email=fields[at + 3],
                at=int(fields[at + 4]),
                message=fields[at + 5],
            )
            for at in range(0, len(fields) - 5, 6)
        ]

    def list_changed_blobs(self, commit: str) -> list[tuple[str, str]]:
        """Return (path, new blob) of what a commit changes against its first parent."""
        out = self._git.local(
            "diff-tree", "-r", "-z", "--no-commit-id", "--no-renames", "--end-of-options", commit
        )
        parts = out.split(b"\0")
        return [
            (path.decode(errors="surrogateescape"), meta.decode().split(" ")[3])
            for meta, path in zip(parts[::2], parts[1::2], strict=False)
        ]

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Return whether the fetched history shows `older` below `newer`."""
        out = self._git.local("log", "--format=%H", f"--max-count={DEPTH}", newer).decode()
        return older in out.split()

    def write_commit(self, new: NewCommit) -> str:
        """Write blobs, trees and the commit in one process; returns the commit."""
        person = f"{new.name} <{new.email}> {new.at} +0000".encode()
        message = new.message.encode()
        parts = [
            b"commit %swork\nmark :1\nauthor %s\ncommitter %s\ndata %d\n%s\nfrom %s\n"
            % (_OURS.encode(), person, person, len(message), message, new.parent.encode())
        ]
        for path, (mode, data) in new.files.items():
            parts.append(
                b"M %s inline %s\ndata %d\n%s\n" % (mode.encode(), _quoted(path), len(data), data)
            )
        parts.append(b"\nget-mark :1\n")
        out = self._git.local(
            "fast-import", "--quiet", "--force", "--date-format=raw", stdin=b"".join(parts)
        )
        return out.decode().split()[0]

    def push(self, commit: str, branch: str, *, expected: str) -> None:
        """Make the branch this commit if it still is `expected` (empty: if it is not there)."""
        ref = f"refs/heads/{check_branch(branch)}"
        self._git.remote(
            "push", "--porcelain", "--no-thin", "--no-verify", "--recurse-submodules=no",
            f"--force-with-lease={ref}:{expected}", "--end-of-options", "origin", f"{commit}:{ref}",
        )  # fmt: skip


def _body(stream: IO[bytes], size: int, most: int) -> bytes | int:
    if size <= most:
        return stream.read(size + 1)[:-1]
    left = size + 1
    while left:
        left -= len(stream.read(min(left, 1 << 20)))
    return size


def _quoted(path: str) -> bytes:
    """Return a path as fast-import reads it: C-quoted, so that no name can be a command."""
    raw = path.encode(errors="surrogateescape")
    escaped = raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + escaped + b'"'
