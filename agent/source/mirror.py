"""One bare mirror of one repository: made atomically, fetched under a lock, thrown away when it is damaged.

The first fetch brings the whole history of commits and trees but no blobs: `find_change` and `is_ancestor` need the
history, an Application needs the blobs below its path only, and those come in one batch. Later fetches ask for the
blobs of the change too, so that a merge costs one round trip and not two. (Measured over https: both 60 ms; a full
clone fetches no faster.) Where the server sends such a change as a difference to a blob we never had, the fetch is
repeated without blobs.
"""

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.core.repositories import Repository
from agent.errors import SourceError
from agent.source import failures
from agent.source.credentials import Credential
from agent.source.objects import ObjectReader
from agent.source.process import GitOptions, GitResult, run_git

_LOCAL_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Total time for a fetch, the first one of a repository and any later one."""

    first_s: float = 90.0
    later_s: float = 15.0


class MissingRefError(Exception):
    """The server has no such ref; the caller may know another name for it."""


class Mirror:
    """A bare repository in the cache folder. `fetch` may be called from one thread at a time (`lock`)."""

    def __init__(
        self,
        folder: Path,
        repository: Repository,
        options: GitOptions,
        deadlines: Deadlines,
        *,
        tidy_every: int = 200,
    ) -> None:
        name = hashlib.sha256(repository.key.encode()).hexdigest()[:24]
        self.path = folder / f"{name}.git"
        self.repository = repository
        self.lock = threading.RLock()
        self.reader = ObjectReader(options, self.path)
        self.suspect = False  # something could not be read; the next fetch starts from nothing
        self._options = options
        self._deadlines = deadlines
        self._fetches = 0
        self._tidy_every = tidy_every

    def fetch(self, ref: str, credential: Credential | None) -> str:
        """Fetch a ref or commit id and return the object id it had in this very fetch."""
        if self.suspect:
            self.remove()
        result = self._fetch_once(ref, credential)
        if "mismatched algorithms" in result.stderr:
            self.remove()
            self._ensure("sha256")
            result = self._fetch_once(ref, credential)
        if result.code and failures.is_corrupt(result) and not failures.is_missing_ref(result):
            self.remove()
            result = self._fetch_once(ref, credential)
        if result.code and failures.is_missing_ref(result):
            raise MissingRefError(ref)
        if result.code:
            deadline_s = self._deadlines.later_s if self._filled() else self._deadlines.first_s
            raise failures.explain(self.repository, result, deadline_s=deadline_s)
        self._fetches += 1
        fetched = self._read_fetch_head()
        if self._fetches % self._tidy_every == 0:
            # A mirror that cannot be tidied would grow without end: it is made anew instead.
            self.suspect = self.run(["gc", "--quiet"], promisor=True).code != 0
        return fetched

    def fetch_blobs(self, oids: Sequence[str], credential: Credential | None) -> None:
        """Fetch blobs that the partial clone lacks, in one batch."""
        arguments = ["-c", "fetch.negotiationAlgorithm=noop", *self._remote(), "fetch", "--quiet"]
        arguments += ["--no-tags", "--no-write-fetch-head", "--filter=blob:none", "--stdin"]
        result = run_git(
            self._options,
            self.path,
            [*arguments, "--end-of-options", "origin"],
            deadline_s=self._deadlines.first_s,
            credential=credential,
            stdin="".join(f"{oid}\n" for oid in oids).encode(),
        )
        if result.code:
            raise failures.explain(self.repository, result, deadline_s=self._deadlines.first_s)

    def shows_branches(self, credential: Credential | None) -> bool:
        """Tell whether the server names any branch; asked only to explain why one is missing."""
        result = run_git(
            self._options,
            self.path,
            ["ls-remote", "--heads", "--end-of-options", self.repository.url],
            deadline_s=self._deadlines.later_s,
            credential=credential,
        )
        return result.code != 0 or bool(result.stdout.strip())

    def run(self, arguments: Sequence[str], *, promisor: bool = False) -> GitResult:
        """Run a local git command in the mirror."""
        remote = self._remote() if promisor else []
        return run_git(self._options, self.path, [*remote, *arguments], deadline_s=_LOCAL_S)

    def remove(self) -> None:
        """Throw the mirror away; the next fetch makes it anew."""
        self.reader.close()
        shutil.rmtree(self.path, ignore_errors=True)
        self.suspect = False

    @staticmethod
    def local_ref(ref: str) -> str:
        """Return where a remote ref is kept here: flat, so that `a` and `a/b` never collide."""
        return f"refs/lockgate/{hashlib.sha256(ref.encode()).hexdigest()[:24]}"

    def _fetch_once(self, ref: str, credential: Credential | None) -> GitResult:
        self._ensure("sha1")
        filled = self._filled()
        result = self._run_fetch(ref, credential, filled=filled, with_blobs=filled)
        if result.code and filled and _lacks_a_base(result):
            result = self._run_fetch(ref, credential, filled=filled, with_blobs=False)
        return result

    def _run_fetch(
        self, ref: str, credential: Credential | None, *, filled: bool, with_blobs: bool
    ) -> GitResult:
        arguments = [*self._remote(), "fetch", "--quiet", "--no-tags", "--refmap="]
        arguments += ["--no-filter"] if with_blobs else ["--filter=blob:none"]
        arguments += ["--end-of-options", "origin", f"+{ref}:{self.local_ref(ref)}"]
        return run_git(
            self._options,
            self.path,
            arguments,
            deadline_s=self._deadlines.later_s if filled else self._deadlines.first_s,
            credential=credential,
        )

    def _remote(self) -> list[str]:
        # On the command line and not in the mirror's config: local commands must not know a place to
        # fetch missing objects from, or `cat-file` would fetch them one by one.
        settings = {
            "url": self.repository.url,
            "promisor": "true",
            "partialclonefilter": "blob:none",
        }
        return [
            word
            for name, value in settings.items()
            for word in ("-c", f"remote.origin.{name}={value}")
        ]

    def _ensure(self, object_format: str) -> None:
        if (self.path / "HEAD").is_file():
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=self.path.parent))
        try:
            arguments = [
                "init",
                "--quiet",
                "--bare",
                "--template=",
                f"--object-format={object_format}",
            ]
            result = run_git(self._options, fresh, arguments, deadline_s=_LOCAL_S)
            if result.code:
                raise failures.explain(self.repository, result, deadline_s=_LOCAL_S)
            fresh.replace(self.path)
            self.reader.close()  # one that was started meanwhile would look at what was removed
        except OSError as err:
            raise SourceError(
                f"the cache folder cannot be written: {err.strerror}",
                hint="give the agent a writable --cache-dir with room",
            ) from err
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _filled(self) -> bool:
        pack, refs = self.path / "objects" / "pack", self.path / "refs" / "lockgate"
        packed = self.path / "packed-refs"
        return pack.is_dir() and (packed.is_file() or (refs.is_dir() and any(refs.iterdir())))

    def _read_fetch_head(self) -> str:
        try:
            oid = (self.path / "FETCH_HEAD").read_text(encoding="utf-8").partition("\t")[0]
        except OSError as err:
            raise SourceError("the local copy of the repository vanished during a fetch") from err
        return oid.strip()


def _lacks_a_base(result: GitResult) -> bool:
    words = ("unresolved delta", "promisor remote", "lazy fetching disabled", "missing base")
    return not result.timed_out and any(word in result.stderr for word in words)
