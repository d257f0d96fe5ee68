"""What every renderer is given and gives: files of a tree in, manifests with their origin out.

Nothing here touches a checkout: files are named by blob ids and read in one batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.core.application import DirectoryOptions
from agent.core.objects import RenderedObject

ReadBlobs = Callable[[Sequence[str]], Mapping[str, bytes]]


class InputFile(Protocol):
    """One blob below the Application's path; `agent.source.port.TreeFile` is one."""

    @property
    def path(self) -> str:
        """The path relative to the Application's, `/`-separated."""

    @property
    def oid(self) -> str:
        """The blob's id: equal ids, equal bytes."""

    @property
    def mode(self) -> int:
        """The git mode."""

    @property
    def size(self) -> int:
        """The size in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    files: Sequence[InputFile]
    read_blobs: ReadBlobs
    app_name: str = ""
    directory: DirectoryOptions = field(default_factory=DirectoryOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    objects: tuple[RenderedObject, ...]
    source_type: str = "Directory"


class Renderer(Protocol):
    """Thread-safe; raises `RenderError` whose message starts with the file's name."""

    def render(self, request: RenderRequest) -> Rendered:
        """Return the manifests of the request's files, in the order of their paths."""
