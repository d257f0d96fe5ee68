"""What the agent asks of a Kubernetes API server; `kube.py` is the real one.

Objects travel as plain JSON values, exactly as the server wrote them. Nothing here retries an object's write: a caller
that sees `ClusterUnavailableError` decides by itself when to try again. Messages never carry a Secret's value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind at one version, and where the server keeps it."""

    api_version: str  # "v1", "apps/v1"
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the URL path of the collection, or of one object when `name` is given."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One object's address."""

    kind: Kind
    name: str
    namespace: str = ""

    @property
    def path(self) -> str:
        return self.kind.path(self.namespace, self.name)

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind.kind} {where}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects of a kind: everywhere or in one namespace, all or those with a label."""

    kind: Kind
    namespace: str = ""
    labels: str = ""
    fields: str = ""


class EventStream(Protocol):
    """An open watch."""

    def lines(self) -> Iterator[bytes]:
        """Yield one JSON line an event until the server or the time-out ends it."""

    def close(self) -> None:
        """End it, from any thread; a blocked reader returns."""


class Cluster(Protocol):
    """Every method raises `ClusterError`, or `ClusterUnavailableError` where a later try may work. Thread-safe."""

    def find_kind(self, api_version: str, kind: str) -> Kind | None:
        """Return where a kind lives, or None if the server does not serve it (asked anew at most every few seconds)."""

    def find_served(self, group: str, kind: str) -> Kind | None:
        """Return a kind at the version the server prefers; for what is known by group and kind alone."""

    def find(self, place: Place) -> Json | None:
        """Return the object, or None."""

    def list(self, selection: Selection) -> Sequence[Json]:
        """Return all objects selected; items carry apiVersion and kind."""

    def apply(self, place: Place, body: Json, *, dry_run: bool = False) -> Json:
        """Server-side apply as manager `lockgate`, conflicts forced; `metadata.uid` in the body forbids creation."""

    def create(self, place: Place, body: Json) -> Json:
        """Create; an existing object is `ClusterError` 409 AlreadyExists."""

    def patch(self, place: Place, operations: Sequence[Mapping[str, Any]]) -> Json:
        """Apply a JSON patch (RFC 6902)."""

    def merge(self, place: Place, body: Json) -> Json:
        """Apply a JSON merge patch (RFC 7386)."""

    def delete(self, place: Place, *, uid: str, propagation: str = "Background") -> bool:
        """Delete this very object; False if it is gone or another one has its name."""

    def watch(self, selection: Selection, *, timeout_s: float) -> EventStream:
        """Open a watch-list: all objects, a bookmark that marks their end, then what changes."""
