"""Where desired state comes from: commits and trees of a config repo, read from git objects without a checkout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFile:
    """One blob below an Application's path."""

    path: str  # relative to the Application's path, "/"-separated
    oid: str
    mode: int  # 0o100644, 0o100755; 0o120000 is a symlink, 0o160000 a submodule
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The inputs of one Application at one commit."""

    revision: str  # full commit id
    oid: str  # tree id of the path: equal ids, equal inputs
    files: Sequence[TreeFile]


class Source(Protocol):
    """Repositories, one bare mirror each; a fetch serves every Application of the repository.

    Every method raises `SourceError` (worth a retry) or `SourceRefusedError`; messages carry no credential.
    Thread-safe.
    """

    def fetch(self, repo: str, target_revision: str, *, since: float | None = None) -> str:
        """Fetch over the network and return the commit id of the branch, tag or HEAD named.

        `since`, on the monotonic clock: what a fetch begun at or after that instant found is good enough, so that
        one fetch serves all Applications that were woken together. None always asks the server.
        """

    def get_tree(self, repo: str, revision: str, path: str) -> Tree:
        """Return the tree of `path` at a fetched commit; refuses paths that leave the repository."""

    def read_blobs(self, repo: str, oids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the contents of blobs, fetched in one batch where they are missing."""

    def find_change(self, repo: str, revision: str, path: str) -> str:
        """Return the newest commit at or before `revision` that touched `path`, along first parents.

        First parents, so that a merge commit, not the commit it merged, is the change: it is what landed.
        """

    def is_ancestor(self, repo: str, older: str, newer: str) -> bool:
        """Tell whether `older` is `newer` or an ancestor of it; False where history was rewritten."""
