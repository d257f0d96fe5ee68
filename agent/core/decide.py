"""Is a live object already what git states? Decided from the two alone, so that a restart writes nothing.

EQUAL needs no request. APPLY names the field that needs one. UNSURE is for values that only the server can compare
(an atomic list that admission lengthened, a time it rewrites): one apply answers, and the answer is kept
(design/engine.md 9).
"""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

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
    same_scalar,
    set_value,
)
from agent.core.normalise import decode_secret_value
from agent.core.objects import Manifest, group_of, is_builtin


class Verdict(StrEnum):
    EQUAL = "Equal"
    APPLY = "Apply"
    UNSURE = "Unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    verdict: Verdict
    path: str = ""  # the first field that made it APPLY or UNSURE
    why: str = ""


_EQUAL = Decision(verdict=Verdict.EQUAL)
_IDENTITY = frozenset({"apiVersion", "kind", "metadata", "status"})
_IDENTITY_METADATA = frozenset({"name", "namespace"})

# Where built-in kinds hold quantities: the children of these fields, and these fields themselves.
_QUANTITY_PARENTS = frozenset(
    {
        "f:limits",
        "f:requests",
        "f:hard",
        "f:capacity",
        "f:allocatable",
        "f:max",
        "f:min",
        "f:default",
        "f:defaultRequest",
        "f:maxLimitRequestRatio",
        "f:podFixed",
    }
)
_QUANTITY_FIELDS = frozenset({"f:storage", "f:sizeLimit", "f:divisor", "f:averageValue", "f:value"})
_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


class _Differs(Exception):  # noqa: N818 - not an error: carries the answer out of the recursion
    def __init__(self, verdict: Verdict, path: Path, why: str) -> None:
        self.decision = Decision(verdict=verdict, path=humanise(path), why=why)


@dataclass(frozen=True, slots=True)
class _Kind:
    builtin: bool
    secret: bool


def decide(desired: Manifest, live: Manifest) -> Decision:
    """Compare a desired object with the live one, fetched at the same apiVersion.

    The live object must not be terminating, and its kind and name are those of `desired`.
    """
    entry = own_entry(live)
    if entry is None:
        return Decision(verdict=Verdict.APPLY, why="not applied by us yet")
    if entry.get("apiVersion") != desired["apiVersion"]:
        return Decision(verdict=Verdict.APPLY, why=f"applied as {entry.get('apiVersion')}")
    group = group_of(desired["apiVersion"])
    kind = _Kind(is_builtin(group), group == "" and desired["kind"] == "Secret")
    fields = fields_of(entry)
    body = {key: value for key, value in desired.items() if key not in _IDENTITY}
    metadata = {k: v for k, v in desired["metadata"].items() if k not in _IDENTITY_METADATA}
    try:
        _node({**body, "metadata": metadata}, live, fields, (), kind)
    except _Differs as found:
        return found.decision
    return _EQUAL


def _node(desired: Any, live: Any, fields: Fields, path: Path, kind: _Kind) -> None:
    """Compare below a node that is not a leaf of our set."""
    if isinstance(desired, dict):
        _mapping(desired, live, fields, path, kind)
    elif isinstance(desired, list):
        _items(desired, live, fields, path, kind)
    else:
        raise _Differs(Verdict.APPLY, path, "its shape changed")


def _mapping(desired: dict[str, Any], live: Any, fields: Fields, path: Path, kind: _Kind) -> None:
    for name, value in desired.items():
        element = f"f:{name}"
        child = fields.get(element)
        if child is None:
            if not _needs_no_owner(value):
                raise _Differs(Verdict.APPLY, (*path, element), "not ours yet")
        else:
            _child(value, child_value(live, element), child, (*path, element), kind)
    _nothing_left_over(desired, fields, path)


def _items(desired: list[Any], live: Any, fields: Fields, path: Path, kind: _Kind) -> None:
    elements = [element for element, _ in children(fields)]
    matched: list[tuple[int, str]] = []
    for element in elements:
        item = desired_child(desired, element)
        if item is MISSING:
            raise _Differs(Verdict.APPLY, (*path, element), "no longer in git")
        if element[:2] == "k:":
            index = _identity_index(desired, item)
            if any(index == taken for taken, _ in matched):
                raise _Differs(Verdict.APPLY, (*path, element), "no longer in git")
            matched.append((index, element))
        _child(item, child_value(live, element), fields[element], (*path, element), kind)
    for item in desired:
        if not _is_owned_item(item, desired, elements):
            raise _Differs(Verdict.APPLY, path, "an item is not ours yet")
    order = tuple(element for _, element in sorted(matched))
    if len(order) > 1 and order != item_order(fields, live):
        raise _Differs(Verdict.APPLY, path, "the order changed")


def _identity_index(items: list[Any], wanted: Any) -> int:
    return next(index for index, item in enumerate(items) if item is wanted)


def _is_owned_item(item: Any, items: list[Any], elements: list[str]) -> bool:
    if isinstance(item, dict):
        return any(e[:2] == "k:" and desired_child(items, e) is item for e in elements)
    return any(e[:2] == "v:" and same_scalar(set_value(e), item) for e in elements)


def _child(desired: Any, live: Any, fields: Fields, path: Path, kind: _Kind) -> None:
    if not is_leaf(fields):
        _node(desired, live, fields, path, kind)
    elif not _equal(desired, live, path, kind):
        raise _Differs(Verdict.UNSURE, path, "only the server can compare it")


def _nothing_left_over(desired: dict[str, Any], fields: Fields, path: Path) -> None:
    for element, _ in children(fields):
        if element[:2] != "f:" or element[2:] not in desired:
            raise _Differs(Verdict.APPLY, (*path, element), "no longer in git")


def _needs_no_owner(value: Any) -> bool:
    """Tell whether a value leaves nothing in the set: an empty granular list, or only such below."""
    if isinstance(value, dict):
        return bool(value) and all(_needs_no_owner(item) for item in value.values())
    return isinstance(value, list) and not value


def _equal(desired: Any, live: Any, path: Path, kind: _Kind) -> bool:
    """Compare a value we own: what the server may have made of `desired` (rule 3)."""
    if desired in _ZEROS:
        return True
    if isinstance(desired, dict):
        return _equal_mapping(desired, live, path, kind)
    if isinstance(desired, list):
        return _equal_list(desired, live, path, kind)
    return _equal_scalar(desired, live, path, kind)


# The server may leave such a value out, or put its default there. (False is 0.)
_ZEROS = (None, "", 0)


def _equal_scalar(desired: Any, live: Any, path: Path, kind: _Kind) -> bool:
    if same_scalar(desired, live):
        return True
    if kind.secret and path[:1] == ("f:data",):
        return _equal_secret(desired, live)
    return kind.builtin and _is_quantity(path) and _equal_quantity(desired, live)


def _equal_mapping(desired: dict[str, Any], live: Any, path: Path, kind: _Kind) -> bool:
    if not desired and kind.builtin:
        return True
    if not isinstance(live, dict):
        return False
    return all(
        _equal(value, live.get(name, MISSING), (*path, f"f:{name}"), kind)
        for name, value in desired.items()
    )


def _equal_list(desired: list[Any], live: Any, path: Path, kind: _Kind) -> bool:
    if not desired and kind.builtin and live is MISSING:
        return True
    if not isinstance(live, list) or len(live) != len(desired):
        return False
    return all(_equal(left, right, path, kind) for left, right in zip(desired, live, strict=True))


def _equal_secret(desired: Any, live: Any) -> bool:
    left = decode_secret_value(desired)
    return left is not None and left == decode_secret_value(live)


def _is_quantity(path: Path) -> bool:
    return path[-1] in _QUANTITY_FIELDS or (len(path) > 1 and path[-2] in _QUANTITY_PARENTS)


def _equal_quantity(desired: Any, live: Any) -> bool:
    left = parse_quantity(desired)
    return left is not None and left == parse_quantity(live)


def parse_quantity(value: Any) -> Decimal | None:
    """Return the exact value of a Kubernetes quantity, None where it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value)
    for suffix in (text[-2:], text[-1:], ""):
        if suffix in _SUFFIXES:
            number = text[: len(text) - len(suffix)]
            try:
                parsed = Decimal(number)
            except InvalidOperation:
                continue
            return parsed * _SUFFIXES[suffix] if parsed.is_finite() else None
    return None
