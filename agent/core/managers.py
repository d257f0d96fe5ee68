"""Who did it: the managers of the other managedFields entries, and what they keep beside what git states.

A pure removal leaves no entry at all, and neither does a change made by admission under another's write: then
nobody is named rather than somebody wrong (design/engine.md 5).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from agent.core.fields import (
    MISSING,
    Fields,
    Path,
    children,
    desired_child,
    fields_of,
    humanise,
    is_leaf,
    managed_fields,
    own_entry,
)
from agent.core.objects import Manifest

# Fields these write are how the cluster works, not something a person put beside git.
_CONTROLLERS = frozenset(
    {
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-apiserver",
        "cloud-controller-manager",
        "clusterrole-aggregation-controller",
        "before-first-apply",
    }
)
_LAST_APPLIED = "f:kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignFields:
    """Fields that somebody else keeps in one of our objects, and that git says nothing about."""

    manager: str
    paths: tuple[str, ...]


def who_changed(live: Manifest, path: Path) -> str:
    """Return the newest other manager that owns a field at, above or below `path`; empty for nobody.

    A field of a list item that went away may have been traded for another one (`value` for `valueFrom`): then
    whoever owns something in that item did it.
    """
    found = _newest_owner(live, path)
    if not found and len(path) > 1 and path[-2][:2] == "k:":
        return _newest_owner(live, path[:-1])
    return found


def _newest_owner(live: Manifest, path: Path) -> str:
    own = own_entry(live)
    best: tuple[int, str] | None = None
    manager = ""
    for entry in managed_fields(live):
        if entry is own:
            continue
        depth = _depth(fields_of(entry), path)
        if depth == 0:
            continue
        # An entry for the very field beats one for a parent; scale entries have no time and sort first.
        score = (depth, str(entry.get("time") or ""))
        if best is None or score >= best:
            best, manager = score, str(entry.get("manager") or "")
    return manager


def _depth(fields: Fields, path: Path) -> int:
    """Return how many elements of `path` the set covers, 0 unless it owns a node at or above its end."""
    node = fields
    for depth, element in enumerate(path):
        found = node.get(element)
        if not isinstance(found, dict):
            return 0
        node = found
        if is_leaf(node):
            return depth + 1
    return len(path)


def foreign_fields(live: Manifest, desired: Manifest | None = None) -> tuple[ForeignFields, ...]:
    """Return what others added beside what git states, per manager, controllers left out (D47).

    With `desired`, fields that git states are left out: somebody took those, which is drift and not an addition.
    """
    own = own_entry(live)
    ours = fields_of(own)
    found: dict[str, list[str]] = {}
    for entry in managed_fields(live):
        manager = str(entry.get("manager") or "")
        if entry is own or entry.get("subresource") or manager in _CONTROLLERS:
            continue
        added = _added(fields_of(entry), ours, ())
        paths = [
            humanise(path)
            for path in added
            if path[-1] != _LAST_APPLIED and not _is_stated(desired, path)
        ]
        if paths:
            found.setdefault(manager, []).extend(paths)
    return tuple(
        ForeignFields(manager=manager, paths=tuple(paths)) for manager, paths in found.items()
    )


def _is_stated(desired: Manifest | None, path: Path) -> bool:
    value: object = desired
    for element in path:
        value = desired_child(value, element)
    return desired is not None and value is not MISSING


def _added(theirs: Fields, ours: Fields | None, path: Path) -> Iterator[Path]:
    """Yield the topmost nodes of `theirs` that `ours` has nothing of; a whole added item is one path."""
    for element, node in children(theirs):
        below = (*path, element)
        if below == ("f:status",):
            continue
        mine = ours.get(element) if ours is not None else None
        if not isinstance(mine, dict):
            yield from _leaves_or_item(node, below)
        elif not is_leaf(mine):
            yield from _added(node, mine, below)


def _leaves_or_item(node: Fields, path: Path) -> Iterator[Path]:
    if is_leaf(node) or path[-1][:2] != "f:":
        yield path
        return
    for element, child in children(node):
        yield from _leaves_or_item(child, (*path, element))
