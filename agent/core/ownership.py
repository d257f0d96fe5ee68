"""Drift without API calls: what we own in an object, a digest of it, and what a change of it means.

After each apply the agent keeps, instead of the object, the set of fields it owns and a keyed hash of each value,
taken from the server's answer and never from the manifest (rule E4). A watch event with an equal digest is not
drift. One with another digest is compared leaf by leaf, and the manager who did it is named where managedFields can
tell (design/engine.md 1, 2, 5).
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from agent.core.fields import (
    MISSING,
    Fields,
    Path,
    child_value,
    children,
    desired_child,
    fields_of,
    humanise,
    is_leaf,
    item_order,
    own_entry,
)
from agent.core.managers import who_changed
from agent.core.objects import Manifest, canonical, group_of

_HASH_BYTES = 8
_DIGEST_BYTES = 16
_MAX_VALUE = 120

PresenceOnly = frozenset[Path]


class ChangeKind(StrEnum):
    CHANGED = "Changed"
    REMOVED = "Removed"  # a pure removal leaves no trace of who did it
    REORDERED = "Reordered"
    BY_ADMISSION = "ChangedByAdmission"  # value changed while we still own it


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One owned field that is not what we applied. Values are empty for Secrets."""

    path: str
    was: str  # what git states
    became: str  # what the cluster has; empty when removed
    manager: str  # empty when managedFields names nobody
    kind: ChangeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class InSync:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaim:
    """Values are right but ownership was lost: one apply, not reported as drift (rule E6)."""


Comparison = InSync | Drift | Reclaim


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedState:
    """What was ours after the last apply, in about 1 kB.

    `fields` is canonical JSON and equal for objects of equal shape: keep one copy (`sys.intern` has no bytes; a
    dict does). `hashes` holds one keyed hash per leaf and per ordered list, in traversal order.
    """

    api_version: str
    fields: bytes
    presence_only: PresenceOnly
    hashes: bytes
    digest: str


def presence_only(desired: Manifest, fields: Fields) -> PresenceOnly:
    """Return the leaves whose desired value is `{}` or null: only their presence is ours (rule E3)."""
    return frozenset(_presence_only(desired, fields, ()))


def _presence_only(desired: Any, fields: Fields, path: Path) -> Iterator[Path]:
    for element, node in children(fields):
        value = desired_child(desired, element)
        below = (*path, element)
        if is_leaf(node):
            if value is None or value == {}:
                yield below
        elif value is not MISSING:
            yield from _presence_only(value, node, below)


def record(desired: Manifest, live: Manifest, key: bytes) -> OwnedState:
    """Return the baseline from the answer to an apply, or from a live object found EQUAL to `desired`."""
    entry = own_entry(live)
    fields = fields_of(entry)
    only = presence_only(desired, fields)
    api_version = str(entry.get("apiVersion", "")) if entry else ""
    hashes = _hashes(fields, live, only, key)
    blob = canonical(fields)
    return OwnedState(
        api_version=api_version,
        fields=blob,
        presence_only=only,
        hashes=hashes,
        digest=_digest(api_version, blob, hashes, key),
    )


def digest(live: Manifest, presence_only_paths: PresenceOnly, key: bytes) -> str:
    """Return the keyed digest of what we own in a live object: 32 hex digits (rules E1 to E3)."""
    entry = own_entry(live)
    fields = fields_of(entry)
    api_version = str(entry.get("apiVersion", "")) if entry else ""
    hashes = _hashes(fields, live, presence_only_paths, key)
    return _digest(api_version, canonical(fields), hashes, key)


def compare(
    recorded: OwnedState, live: Manifest, key: bytes, desired: Manifest | None = None
) -> Comparison:
    """Tell what happened to an object since `recorded`; `desired` fills in `Change.was`.

    The caller has dealt with another uid (the object was recreated) and with `deletionTimestamp`.
    """
    if digest(live, recorded.presence_only, key) == recorded.digest:
        return InSync()
    fields: Fields = orjson.loads(recorded.fields)
    changes = tuple(_changes(recorded, fields, live, key, desired))
    return Drift(changes=changes) if changes else Reclaim()


def _changes(
    recorded: OwnedState, fields: Fields, live: Manifest, key: bytes, desired: Manifest | None
) -> Iterator[Change]:
    still_owned = canonical(fields_of(own_entry(live))) == recorded.fields
    hidden = live.get("kind") == "Secret" and group_of(str(live.get("apiVersion", ""))) == ""
    walked = _walk(fields, live, recorded.presence_only, key)
    gone: set[Path] = set()
    for (full_path, full_value, seen), before in zip(walked, _chunks(recorded.hashes), strict=True):
        if seen == before or _is_partial_order(fields, full_path, full_value):
            continue
        path, value = full_path, full_value
        if path[-1] == _ORDER:
            value = [humanise((element,))[1:-1] for element in full_value]
        else:
            path, value = _topmost_gone(live, path, value)
        if path in gone:
            continue
        gone.add(path)
        became = "" if hidden or value is MISSING else _show(value)
        stated = MISSING if desired is None or hidden else _desired_at(desired, path)
        yield Change(
            path=humanise(path[:-1] if path[-1] == _ORDER else path),
            was="" if stated is MISSING else _show(stated),
            became=became,
            manager=who_changed(live, path),
            kind=_kind(path, value, still_owned=still_owned),
        )


def _topmost_gone(live: Manifest, path: Path, value: Any) -> tuple[Path, Any]:
    """Name what was removed once, at its top, and not each field below it."""
    parent: Any = live
    for depth, element in enumerate(path):
        parent = child_value(parent, element)
        if parent is MISSING:
            return path[: depth + 1], MISSING
    return path, value


def _is_partial_order(fields: Fields, path: Path, names: Any) -> bool:
    """Tell whether an order differs only because items are gone: those are named themselves."""
    if path[-1] != _ORDER:
        return False
    node = fields
    for element in path[:-1]:
        node = node[element]
    return len(names) < sum(element[:2] == "k:" for element in node)


def _kind(path: Path, value: Any, *, still_owned: bool) -> ChangeKind:
    if path[-1] == _ORDER:
        return ChangeKind.REORDERED
    if value is MISSING:
        return ChangeKind.REMOVED
    return ChangeKind.BY_ADMISSION if still_owned else ChangeKind.CHANGED


def _desired_at(desired: Any, path: Path) -> Any:
    value = desired
    for element in path:
        if element == _ORDER:
            return [_name(item) for item in value] if isinstance(value, list) else MISSING
        value = desired_child(value, element)
    return value


def _name(item: Any) -> Any:
    return item.get("name", item) if isinstance(item, dict) else item


def _show(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"


_ORDER = "order"  # pseudo-element: the order of the owned items of a list


_Leaf = tuple[Path, Any, bytes]


def _walk(fields: Fields, live: Manifest, only: PresenceOnly, key: bytes) -> list[_Leaf]:
    """Return (path, live value, keyed hash) of each leaf and of each list's order, always in one order."""
    found: list[_Leaf] = []
    _collect(_Walk(only=only, key=key, add=found.append), fields, live, ())
    return found


@dataclass(frozen=True, slots=True)
class _Walk:
    only: PresenceOnly
    key: bytes
    add: Callable[[_Leaf], None]


def _collect(walk: _Walk, fields: Fields, value: Any, path: Path) -> None:
    """Add the leaves below a node: on every event of every object, so no generators here."""
    elements = sorted(fields)
    if len(elements) > 1 and elements[-2][:2] == "k:":  # "." sorts first: two items or more
        order = list(item_order(fields, value))
        walk.add(((*path, _ORDER), order, _hash(order, walk.key)))
    for element in elements:
        if element == ".":
            continue
        node = fields[element]
        child = MISSING if value is MISSING else child_value(value, element)
        below = (*path, element)
        if not is_leaf(node):
            _collect(walk, node, child, below)
        elif below in walk.only or element[:2] == "v:":
            walk.add((below, child, _hash(child is not MISSING, walk.key)))
        else:
            walk.add((below, child, _hash(child, walk.key)))


def _hashes(fields: Fields, live: Manifest, only: PresenceOnly, key: bytes) -> bytes:
    return b"".join([seen for _, _, seen in _walk(fields, live, only, key)])


def _hash(value: Any, key: bytes) -> bytes:
    data = b"" if value is MISSING else canonical(value)
    return hashlib.blake2b(data, key=key, digest_size=_HASH_BYTES).digest()


def _digest(api_version: str, fields: bytes, hashes: bytes, key: bytes) -> str:
    data = b"\0".join((api_version.encode(), fields, hashes))
    return hashlib.blake2b(data, key=key, digest_size=_DIGEST_BYTES).hexdigest()


def _chunks(hashes: bytes) -> Iterator[bytes]:
    for start in range(0, len(hashes), _HASH_BYTES):
        yield hashes[start : start + _HASH_BYTES]
