"""`Source` over the git binary: fetch into bare mirrors, read trees and blobs from git objects.

Nothing is ever checked out. A fetch is one git process; everything after it is answered by one long-lived
`git cat-file` a repository.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from agent.core.repositories import (
    Repository,
    check_path,
    check_target_revision,
    is_commit_id,
    parse_repository,
    show,
)
from agent.errors import SourceError, SourceRefusedError
from agent.source import failures
from agent.source.credentials import CredentialFile
from agent.source.flights import Flights
from agent.source.mirror import Deadlines, Mirror, MissingRefError
from agent.source.objects import SUBMODULE, GitObject, UnreadableError, by_oid
from agent.source.port import Tree, TreeFile
from agent.source.probe import PushProbe
from agent.source.process import GitOptions
from agent.source.trees import find_folder, get_folder, list_files

_OPEN_READERS = 32
_REMEMBERED = 4096
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSourceOptions:
    """How the agent reaches git servers."""

    cache_dir: Path
    git: GitOptions
    credentials: CredentialFile
    deadlines: Deadlines = field(default_factory=Deadlines)
    schemes: frozenset[str] = frozenset({"https"})
    on_fetch: Callable[[str, float], None] = lambda _result, _seconds: None


class GitSource:
    """Repositories by address; see `agent.source.port.Source`."""

    def __init__(self, options: GitSourceOptions) -> None:
        self._options = options
        self._probe = PushProbe(options.git, deadline_s=options.deadlines.later_s)
        self._flights = Flights()
        self._lock = threading.Lock()
        self._mirrors: dict[str, Mirror] = {}  # most recently used last
        self._fetched: dict[tuple[str, str], tuple[float, str]] = {}
        self._listed: dict[tuple[str, str], Tree] = {}
        self._changes: dict[tuple[str, str], tuple[str, str]] = {}

    def close(self) -> None:
        """End all git processes, those of fetches under way too; for the end of the agent."""
        self._options.git.running.end()
        with self._lock:
            mirrors = list(self._mirrors.values())
        for mirror in mirrors:
            mirror.reader.close()

    def fetch(self, repo: str, target_revision: str, *, since: float | None = None) -> str:
        mirror = self._mirror(repo)
        wanted = check_target_revision(target_revision)
        if is_commit_id(wanted) and self._has(mirror, wanted):
            self._check_rights(mirror, wanted)
            return wanted
        fetched = self._fetched.get((mirror.repository.key, wanted))
        if since is not None and fetched is not None and fetched[0] >= since:
            return fetched[1]
        return self._flights.run(
            (mirror.repository.key, wanted), mirror.lock, lambda: self._counted(mirror, wanted)
        )

    def get_tree(self, repo: str, revision: str, path: str) -> Tree:
        mirror = self._mirror(repo)
        segments = check_path(path)
        _check_oid(revision)
        with _suspecting(mirror):
            oid = get_folder(mirror.reader, revision, segments)
            last = self._listed.get((mirror.repository.key, path))
            if last is not None and last.oid == oid:
                tree = Tree(revision=revision, oid=oid, files=last.files)
            else:
                tree = Tree(revision=revision, oid=oid, files=self._list(mirror, oid))
            _remember(self._listed, (mirror.repository.key, path), tree)
        return tree

    def read_blobs(self, repo: str, oids: Sequence[str]) -> Mapping[str, bytes]:
        mirror = self._mirror(repo)
        wanted = list(dict.fromkeys(oids))
        for oid in wanted:
            _check_oid(oid)
        with _suspecting(mirror):
            found = dict(by_oid(mirror.reader.find(wanted)))
            missing = [oid for oid in wanted if oid not in found]
            if missing:
                self._ensure_blobs(mirror, missing)
                found |= by_oid(mirror.reader.find(missing))
        return {oid: found[oid].data for oid in wanted}

    def find_change(self, repo: str, revision: str, path: str) -> str:
        mirror = self._mirror(repo)
        segments = check_path(path)
        _check_oid(revision)
        with _suspecting(mirror):
            remembered = self._changes.get((mirror.repository.key, path))
            if remembered is not None and remembered[0] == revision:
                return remembered[1]
            change = self._find_change(mirror, revision, segments)
            _remember(self._changes, (mirror.repository.key, path), (revision, change))
        return change

    def is_ancestor(self, repo: str, older: str, newer: str) -> bool:
        mirror = self._mirror(repo)
        _check_oid(older)
        _check_oid(newer)
        if older == newer:
            return True
        parent = mirror.reader.find_info([f"{newer}^1"])[0]
        if parent is not None and parent.oid == older:
            return True
        return mirror.run(["merge-base", "--is-ancestor", older, newer]).code == 0

    def _mirror(self, repo: str) -> Mirror:
        repository = parse_repository(repo, schemes=self._options.schemes)
        with self._lock:
            mirror = self._mirrors.pop(repository.key, None)
            if mirror is None:
                options = self._options
                mirror = Mirror(options.cache_dir, repository, options.git, options.deadlines)
            self._mirrors[repository.key] = mirror
            idle = list(self._mirrors.values())[:-_OPEN_READERS]
        for other in idle:
            other.reader.close()
        return mirror

    def _counted(self, mirror: Mirror, wanted: str) -> str:
        started = time.monotonic()
        result = "failed"
        try:
            commit = self._fetch(mirror, wanted)
            result = "ok"
            _remember(self._fetched, (mirror.repository.key, wanted), (started, commit))
        except SourceRefusedError:
            result = "refused"
            raise
        finally:
            self._options.on_fetch(result, time.monotonic() - started)
        return commit

    def _fetch(self, mirror: Mirror, wanted: str) -> str:
        credential = self._options.credentials.find(mirror.repository)
        for ref in _candidates(wanted):
            before = self._find_commit(mirror, mirror.local_ref(ref))
            try:
                fetched = mirror.fetch(ref, credential)
            except MissingRefError:
                continue
            commit = self._find_commit(mirror, fetched)
            if commit is None:
                raise SourceError(
                    f"repository {show(mirror.repository.url)}: {wanted[:80]!r} does not name a commit"
                )
            if ref.startswith("refs/tags/") and before is not None and before != commit:
                mirror.run(["update-ref", mirror.local_ref(ref), before])
                raise _tag_moved(mirror.repository, wanted, before, commit)
            self._check_rights(mirror, commit)
            return commit
        bare = not mirror.shows_branches(credential)
        raise failures.missing_revision(mirror.repository, wanted, bare=bare)

    def _check_rights(self, mirror: Mirror, commit: str) -> None:
        credential = self._options.credentials.find(mirror.repository)
        if credential is not None:
            self._probe.check(mirror, credential, commit)

    def _find_commit(self, mirror: Mirror, name: str) -> str | None:
        if not (mirror.path / "HEAD").is_file():
            return None
        found = mirror.reader.find_info([f"{name}^{{commit}}"])[0]
        return found.oid if found is not None else None

    def _has(self, mirror: Mirror, commit: str) -> bool:
        return not mirror.suspect and self._find_commit(mirror, commit) == commit

    def _list(self, mirror: Mirror, oid: str) -> tuple[TreeFile, ...]:
        entries = list_files(mirror.reader, oid)
        blobs = [entry.oid for entry in entries if entry.mode != SUBMODULE]
        found = self._ensure_blobs(mirror, blobs)
        sizes = {oid: blob.size for oid, blob in found.items()}
        return tuple(
            TreeFile(path=entry.name, oid=entry.oid, mode=entry.mode, size=sizes.get(entry.oid, 0))
            for entry in entries
        )

    def _ensure_blobs(self, mirror: Mirror, oids: Sequence[str]) -> dict[str, GitObject]:
        wanted = list(dict.fromkeys(oids))
        found = dict(by_oid(mirror.reader.find_info(wanted)))
        missing = [oid for oid in wanted if oid not in found]
        if not missing:
            return found
        with mirror.lock:
            mirror.fetch_blobs(missing, self._options.credentials.find(mirror.repository))
        found |= by_oid(mirror.reader.find_info(missing))
        if any(oid not in found for oid in missing):
            mirror.suspect = True
            raise SourceError(
                f"repository {show(mirror.repository.url)}: objects are missing after a fetch",
                hint="the local copy is made anew at the next attempt",
            )
        return found

    def _find_change(self, mirror: Mirror, revision: str, segments: Sequence[str]) -> str:
        if mirror.reader.find_info([f"{revision}^1"])[0] is None:
            return revision
        now = find_folder(mirror.reader, revision, segments)
        if now != find_folder(mirror.reader, f"{revision}^1", segments):
            return revision
        path = "/".join(segments) or "."
        arguments = ["log", "-1", "--first-parent", "--format=%H", "--end-of-options", revision]
        result = mirror.run(["--literal-pathspecs", *arguments, "--", path])
        change = result.stdout.decode().strip()
        return change or revision


@contextmanager
def _suspecting(mirror: Mirror) -> Iterator[None]:
    """Mark a mirror whose objects cannot be read: the next fetch starts from nothing."""
    try:
        yield
    except UnreadableError:
        mirror.suspect = True
        raise


def _remember(memory: dict[tuple[str, str], _T], key: tuple[str, str], value: _T) -> None:
    """Keep the newest answer for a repository and path; Applications that went are forgotten in time."""
    memory.pop(key, None)
    memory[key] = value
    while len(memory) > _REMEMBERED:
        memory.pop(next(iter(memory)), None)


def _candidates(wanted: str) -> tuple[str, ...]:
    if wanted == "HEAD" or is_commit_id(wanted) or wanted.startswith("refs/"):
        return (wanted,)
    return (f"refs/heads/{wanted}", f"refs/tags/{wanted}")


def _check_oid(oid: str) -> None:
    if not is_commit_id(oid):
        raise SourceRefusedError(f"{oid[:80]!r} is not a full object id")


def _tag_moved(repository: Repository, tag: str, before: str, now: str) -> SourceRefusedError:
    return SourceRefusedError(
        f"repository {show(repository.url)}: tag {tag[:80]!r} moved from {before[:12]} to {now[:12]}",
        hint="a tag is expected to stay; move it back, or name the commit or another tag in targetRevision",
    )
