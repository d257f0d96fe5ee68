"""Finds a folder in a commit and lists what is below it.

The way to the folder is walked one tree at a time: a symbolic link or submodule on it is refused by name instead of
being followed.
"""

from collections.abc import Sequence

from agent.errors import SourceError, SourceRefusedError
from agent.source.objects import (
    DIRECTORY,
    SUBMODULE,
    SYMLINK,
    GitObject,
    ObjectReader,
    TreeEntry,
    UnreadableError,
    parse_tree,
)

_MAX_FILES = 100_000
_MAX_DEPTH = 64


def find_folder(reader: ObjectReader, commit: str, segments: Sequence[str]) -> str | None:
    """Return the tree id of a folder at a commit, or None where the commit has no such folder."""
    try:
        return get_folder(reader, commit, segments)
    except UnreadableError:
        raise
    except SourceError:
        return None


def get_folder(reader: ObjectReader, commit: str, segments: Sequence[str]) -> str:
    """Return the tree id of a folder at a commit; raises `SourceError` where it is not a folder."""
    tree = _get_tree(reader, f"{commit}^{{tree}}")
    walked = ""
    for segment in segments:
        walked = f"{walked}/{segment}".lstrip("/")
        entry = next(
            (e for e in parse_tree(tree.data, len(tree.oid) // 2) if e.name == segment), None
        )
        if entry is None:
            raise SourceError(
                f"spec.source.path: {walked[:200]!r} does not exist at {commit[:8]}",
                hint="was the folder moved? Change spec.source.path or put it back",
            )
        if entry.mode in {SYMLINK, SUBMODULE}:
            kind = "symbolic link" if entry.mode == SYMLINK else "submodule"
            raise SourceRefusedError(
                f"spec.source.path: {walked[:200]!r} is a {kind}, which is not followed",
                hint="name the folder itself",
            )
        if entry.mode != DIRECTORY:
            raise SourceError(
                f"spec.source.path: {walked[:200]!r} is a file at {commit[:8]}",
                hint="name the folder that holds the manifests",
            )
        tree = _get_tree(reader, entry.oid)
    return tree.oid


def list_files(reader: ObjectReader, oid: str) -> list[TreeEntry]:
    """Return every file below a tree, names relative to it; one round trip a level."""
    files: list[TreeEntry] = []
    level = [("", oid)]
    for _ in range(_MAX_DEPTH):
        trees = reader.find([tree for _, tree in level])
        folders: list[tuple[str, str]] = []
        for (prefix, name), tree in zip(level, trees, strict=True):
            if tree is None or tree.kind != "tree":
                raise UnreadableError(f"the local copy of the repository lacks tree {name[:8]}")
            for entry in parse_tree(tree.data, len(tree.oid) // 2):
                path = prefix + entry.name
                if entry.mode == DIRECTORY:
                    folders.append((path + "/", entry.oid))
                else:
                    files.append(TreeEntry(mode=entry.mode, name=path, oid=entry.oid))
        if len(files) > _MAX_FILES:
            raise SourceRefusedError(f"more than {_MAX_FILES} files below spec.source.path")
        if not folders:
            return sorted(files, key=lambda entry: entry.name)
        level = folders
    raise SourceRefusedError(f"folders nested deeper than {_MAX_DEPTH} below spec.source.path")


def _get_tree(reader: ObjectReader, name: str) -> GitObject:
    found = reader.find([name])[0]
    if found is None or found.kind != "tree":
        raise UnreadableError(
            f"the local copy of the repository lacks {name[:8]}", hint="it is fetched again"
        )
    return found
