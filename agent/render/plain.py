"""A directory of plain manifests: every .yaml, .yml and .json in it, read from git objects.

Symbolic links and submodules are refused where a manifest or a folder of them could be behind one: a link is a way
to read what the repository does not hold. Parsed documents are kept by blob id, so a push costs what it changed.
"""

import fnmatch
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

from agent.core.application import DirectoryOptions
from agent.core.objects import RenderedObject
from agent.errors import RenderError
from agent.render.detect import check_supported
from agent.render.port import InputFile, Rendered, RenderRequest
from agent.render.yaml import DEFAULT_LIMITS, Document, YamlLimits, load_yaml

_SUFFIXES = (".yaml", ".yml", ".json", ".jsonnet")
_SYMLINK = 0o120000
_SUBMODULE = 0o160000
_SKIP_MARK = b"+argocd:skip-file-rendering"
_SURROGATES = re.compile(
    rb"(?<!\\)((?:\\\\)*)((?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})+)"
)
_MAX_ALTERNATIVES = 64
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainLimits:
    """A directory's size is checked before the first byte of it is read."""

    total_bytes: int = 10 * 1024 * 1024
    files: int = 10_000
    cache_bytes: int = 32 * 1024 * 1024  # of source text whose documents are kept
    yaml: YamlLimits = DEFAULT_LIMITS


class PlainRenderer:
    """The `Renderer` of plain directories, with its cache."""

    def __init__(self, limits: PlainLimits = PlainLimits()) -> None:
        self._limits = limits
        self._cache: OrderedDict[str, tuple[int, tuple[Document, ...]]] = OrderedDict()
        self._cached_bytes = 0
        self._lock = Lock()

    def render(self, request: RenderRequest) -> Rendered:
        check_supported(request.files, request.app_name)
        files = select_files(request.files, request.directory)
        self._check_size(files)
        # Taken once: other renders, and this one, may push entries out of the cache meanwhile.
        known = {file.oid: found for file in files if (found := self._find(file)) is not None}
        missing = tuple(dict.fromkeys(file.oid for file in files if file.oid not in known))
        blobs = request.read_blobs(missing) if missing else {}
        objects: list[RenderedObject] = []
        for file in files:
            if file.oid not in known:
                known[file.oid] = self._load(file, blobs[file.oid])
            objects.extend(
                RenderedObject(manifest=document.value, origin=f"{file.path}:{document.line}")
                for document in known[file.oid]
            )
        return Rendered(objects=tuple(objects))

    def _check_size(self, files: Sequence[InputFile]) -> None:
        if len(files) > self._limits.files:
            raise RenderError(
                f"{files[0].path}: the directory has more than {self._limits.files} manifests"
            )
        total = 0
        for file in files:
            total += file.size
            if total > self._limits.total_bytes:
                raise RenderError(
                    f"{file.path}: the manifests up to this one have {total} bytes, more than "
                    f"{self._limits.total_bytes} allowed in one directory"
                )

    def _load(self, file: InputFile, data: bytes) -> tuple[Document, ...]:
        if _is_skipped(data):
            documents: tuple[Document, ...] = ()
        else:
            text = _join_surrogates(data) if file.path.endswith(".json") else data
            documents = load_yaml(text, file.path, self._limits.yaml)
        with self._lock:
            replaced, _ = self._cache.pop(file.oid, (0, ()))
            self._cache[file.oid] = (len(data), documents)
            self._cached_bytes += len(data) - replaced
            while self._cached_bytes > self._limits.cache_bytes:
                _, (size, _) = self._cache.popitem(last=False)
                self._cached_bytes -= size
        return documents

    def _find(self, file: InputFile) -> tuple[Document, ...] | None:
        with self._lock:
            found = self._cache.get(file.oid)
            if found is None:
                return None
            self._cache.move_to_end(file.oid)
            return found[1]


def select_files(files: Sequence[InputFile], options: DirectoryOptions) -> tuple[InputFile, ...]:
    """Return the manifests that count, in the order of their paths."""
    include, exclude = _globs(options.include), _globs(options.exclude)
    return tuple(
        file
        for file in sorted(files, key=lambda item: item.path)
        if _is_in_scope(file, options)
        and (not include or _matches(file.path, include))
        and not _matches(file.path, exclude)
        and _check_kind(file)
    )


def _is_in_scope(file: InputFile, options: DirectoryOptions) -> bool:
    if "/" in file.path and not options.recurse:
        return False
    # With `recurse` a link or a submodule may stand for a whole folder, whatever its name is.
    is_folder = options.recurse and file.mode in {_SYMLINK, _SUBMODULE}
    return is_folder or file.path.endswith(_SUFFIXES)


def _check_kind(file: InputFile) -> bool:
    if file.mode == _SYMLINK:
        raise RenderError(f"{file.path}: symbolic links are refused", hint="commit the file itself")
    if file.mode == _SUBMODULE:
        raise RenderError(
            f"{file.path}: submodules are refused", hint="commit the files themselves"
        )
    if file.path.endswith(".jsonnet"):
        raise RenderError(f"{file.path}: Jsonnet is not supported yet")
    return True


def _is_skipped(data: bytes) -> bool:
    """Tell whether a comment asks to leave the file out, as Argo CD has it."""
    return _SKIP_MARK in data and any(
        line.lstrip().startswith(b"#") and _SKIP_MARK in line for line in data.splitlines()
    )


def _join_surrogates(data: bytes) -> bytes:
    """Write JSON's escaped surrogate pairs as the characters they are: YAML has no such escapes."""

    def join(match: re.Match[bytes]) -> bytes:
        pairs = match[2].decode().encode().decode("unicode_escape")
        return match[1] + pairs.encode("utf-16", "surrogatepass").decode("utf-16").encode()

    return _SURROGATES.sub(join, data)


def _globs(pattern: str) -> tuple[str, ...]:
    """Return a glob without its `{a,b}` alternatives, written out."""
    return tuple(_expand(pattern)) if pattern else ()


def _expand(pattern: str) -> Iterator[str]:
    pending = [pattern]
    written = 0
    while pending:
        current = pending.pop()
        braces = _BRACES.search(current)
        if braces is None:
            written += 1
            yield current
            continue
        options = braces[1].split(",")
        if written + len(pending) + len(options) > _MAX_ALTERNATIVES:
            raise RenderError(
                f"spec.source.directory: the glob {pattern[:80]!r} has more than "
                f"{_MAX_ALTERNATIVES} alternatives"
            )
        start, end = current[: braces.start()], current[braces.end() :]
        pending.extend(start + option + end for option in options)


def _matches(path: str, globs: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, glob) for glob in globs)
