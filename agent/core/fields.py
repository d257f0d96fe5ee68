"""fieldsV1: the server's notation for which fields a manager owns, and how to find those fields in an object.

A set is a tree whose keys are path elements: `f:name` a field, `k:{…}` a list item by its keys, `v:…` an element of
a set, `.` the node itself. Paths here are tuples of those raw elements: field names may hold dots and slashes
(`nvidia.com/gpu`), so a joined path would be ambiguous (design/engine.md 2).
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from agent.core.objects import FIELD_MANAGER, Manifest

Fields = dict[str, Any]
Path = tuple[str, ...]


class Missing:
    """The value of a path that is not there; distinct from null."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


def managed_fields(live: Manifest) -> list[dict[str, Any]]:
    """Return the entries of managedFields; anything malformed counts as none."""
    entries = (live.get("metadata") or {}).get("managedFields")
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict)]


def own_entry(live: Manifest, manager: str = FIELD_MANAGER) -> dict[str, Any] | None:
    """Return our Apply entry, of which the server keeps at most one (rule E1)."""
    return next(
        (
            entry
            for entry in managed_fields(live)
            if entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and not entry.get("subresource")
        ),
        None,
    )


def fields_of(entry: Mapping[str, Any] | None) -> Fields:
    """Return an entry's set; no entry is the empty set, which is normal for an object of only a name."""
    found = entry.get("fieldsV1") if entry else None
    return found if isinstance(found, dict) else {}


def is_leaf(node: Fields) -> bool:
    return not node or (len(node) == 1 and "." in node)


def children(node: Fields) -> Iterator[tuple[str, Fields]]:
    """Yield the children in the one order that digests are computed in."""
    for element in sorted(node):
        if element != ".":
            yield element, node[element]


def leaves(fields: Fields, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of all leaves."""
    for element, node in children(fields):
        if is_leaf(node):
            yield (*path, element)
        else:
            yield from leaves(node, (*path, element))


@lru_cache(maxsize=4096)
def item_keys(element: str) -> tuple[tuple[str, Any], ...]:
    """Return the keys of a `k:` element as pairs."""
    found = json.loads(element[2:])
    return tuple(found.items()) if isinstance(found, dict) else ()


@lru_cache(maxsize=4096)
def set_value(element: str) -> Any:
    """Return the value of a `v:` element."""
    return json.loads(element[2:])


def same_scalar(left: object, right: object) -> bool:
    """Compare scalars as JSON does: 1 equals 1.0, but true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def child_value(value: Any, element: str) -> Any:
    """Return what a path element names inside a live value, or MISSING."""
    prefix = element[:2]
    if prefix == "f:":
        return value.get(element[2:], MISSING) if isinstance(value, dict) else MISSING
    if not isinstance(value, list):
        return MISSING
    if prefix == "k:":
        index = item_index(value, element)
        return MISSING if index is None else value[index]
    if prefix == "v:":
        wanted = set_value(element)
        return next((item for item in value if same_scalar(item, wanted)), MISSING)
    return MISSING


def item_index(items: list[Any], element: str) -> int | None:
    """Return where the item with exactly these keys is. Live items have every default filled in."""
    keys = item_keys(element)
    for index, item in enumerate(items):
        if isinstance(item, dict) and all(
            name in item and same_scalar(item[name], wanted) for name, wanted in keys
        ):
            return index
    return None


def desired_item(items: list[Any], element: str) -> Any:
    """Return the desired item a `k:` element came from, where a key left out had its default."""
    keys = item_keys(element)
    best: Any = MISSING
    best_score = 0
    for item in items:
        score = _key_score(item, keys)
        if score > best_score:
            best, best_score = item, score
    return best


_KEY_DEFAULTS = {"protocol": "TCP"}


def _key_score(item: Any, keys: tuple[tuple[str, Any], ...]) -> int:
    """Return how many keys an item states itself, 0 where one of them says otherwise."""
    if not isinstance(item, dict):
        return 0
    stated = 0
    for name, wanted in keys:
        value = item.get(name)
        stated += value is not None
        if not same_scalar(_KEY_DEFAULTS.get(name, wanted) if value is None else value, wanted):
            return 0
    return stated


def desired_child(value: Any, element: str) -> Any:
    """Return what a path element names inside a desired value, or MISSING."""
    if element[:2] == "k:":
        return desired_item(value, element) if isinstance(value, list) else MISSING
    return child_value(value, element)


def item_order(fields: Fields, value: Any) -> tuple[str, ...]:
    """Return the `k:` elements of a node in the order the live list has them (rule E2)."""
    owned = [element for element in fields if element[:2] == "k:"]
    if len(owned) < 2 or not isinstance(value, list):
        return ()
    places = [(item_index(value, element), element) for element in owned]
    return tuple(element for _, element in sorted((i, e) for i, e in places if i is not None))


def humanise(path: Path) -> str:
    """Return a path as people write it: `spec.template.spec.containers[app].env[A].value`."""
    text = ""
    for element in path:
        prefix, rest = element[:2], element[2:]
        if prefix == "f:":
            bracket = not rest or any(char in rest for char in "./[] ")
            text += f"[{rest}]" if bracket else f".{rest}" if text else rest
        elif prefix == "k:":
            text += "[" + ",".join(str(value) for _, value in item_keys(element)) + "]"
        elif prefix == "v:":
            text += f"[{set_value(element)}]"
        else:
            text += f"[{element}]"
    return text
