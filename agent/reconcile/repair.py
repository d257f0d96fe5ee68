"""Applying one object, and what to do when that is not enough (engine.md 6, 8).

Almost always one server-side apply. An object that used to be managed by `kubectl apply`, Argo CD or Flux is taken over:
their entries are folded into ours, or fields removed from git would stay for ever. A refused update (422) is tried once
more after the fields in the way were made ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.cluster.port import Cluster, Json, Place
from agent.core.fields import Fields, fields_of, managed_fields, own_entry
from agent.core.objects import FIELD_MANAGER, DesiredObject, Manifest
from agent.errors import ClusterError

# Tools that stated the whole object before us. Their entries become ours when the object does (D45).
_PREDECESSORS = frozenset(
    {
        "kubectl-client-side-apply",
        "kubectl-create",
        "before-first-apply",
        "argocd-controller",
        "kustomize-controller",
        "helm-controller",
        "helm",
    }
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_RESTARTED_AT = ("f:spec", "f:template", "f:metadata", "f:annotations")
_RESTART_KEY = "f:kubectl.kubernetes.io/restartedAt"
_ATTEMPTS = 3  # status writes race with a takeover


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    live: Manifest
    writes: int
    notes: tuple[str, ...] = ()


def apply_object(cluster: Cluster, place: Place, desired: DesiredObject, uid: str) -> Applied:
    """Apply; `uid` empty creates or adopts, else only that very object is touched."""
    body = _body(desired, uid)
    try:
        live = cluster.apply(place, body)
    except ClusterError as error:
        if error.status != 422 or not uid:
            raise
        return _apply_with_remedy(cluster, place, desired, uid, error)
    predecessors = [] if uid else _predecessors(live)
    if not predecessors:
        return Applied(live=live, writes=1)
    _take_over(cluster, place, live, predecessors)
    names = ", ".join(sorted({str(entry.get("manager")) for entry in predecessors}))
    again = cluster.apply(place, _body(desired, str(live["metadata"]["uid"])))
    return Applied(live=again, writes=3, notes=(f"{place}: taken over from {names}",))


def _apply_with_remedy(
    cluster: Cluster, place: Place, desired: DesiredObject, uid: str, refused: ClusterError
) -> Applied:
    """Make what is in the way ours, and apply once more; the second refusal stands."""
    live = cluster.find(place)
    if live is None or live["metadata"]["uid"] != uid:
        raise refused
    entries = [entry for entry in _others(live) if _is_person(str(entry.get("manager")))]
    extra = [path for path in map(_as_path, refused.fields) if path and _is_absent(desired, path)]
    if not entries and not extra:
        raise refused
    _take_over(cluster, place, live, entries, extra)
    again = cluster.apply(place, _body(desired, uid))
    return Applied(live=again, writes=2, notes=(f"{place}: fields in the way were taken over",))


def _take_over(
    cluster: Cluster,
    place: Place,
    live: Manifest,
    entries: Sequence[dict[str, Any]],
    leaves: Sequence[tuple[str, ...]] = (),
) -> None:
    """Fold entries (and single leaves) into ours by one JSON patch; never leaves two entries of ours."""
    current: Manifest | None = live
    for attempt in range(_ATTEMPTS):
        if current is None:
            raise ClusterError(f"{place} is gone", status=404, code="NotFound")
        taken = [str(entry.get("manager")) for entry in entries]
        try:
            cluster.patch(place, _patch(current, taken, leaves))
        except ClusterError as error:
            if error.status != 409 or attempt == _ATTEMPTS - 1:
                raise
            current = cluster.find(place)
        else:
            return


def _patch(live: Manifest, taken: Sequence[str], leaves: Sequence[tuple[str, ...]]) -> list[Json]:
    own = own_entry(live)
    fields: Fields = _copy(fields_of(own))
    rest: list[dict[str, Any]] = []
    for entry in managed_fields(live):
        if entry is own:
            continue
        if str(entry.get("manager")) not in taken or entry.get("subresource"):
            rest.append(entry)
            continue
        theirs: Fields = _copy(fields_of(entry))
        kept = _split_restart(theirs)
        _unite(fields, theirs)
        if kept:
            rest.append({**entry, "fieldsV1": kept})
    for path in leaves:
        _add_leaf(fields, path)
    ours = {
        "manager": FIELD_MANAGER,
        "operation": "Apply",
        "apiVersion": live["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    metadata = live["metadata"]
    patch: list[Json] = [
        # `replace`, not `test`: a stale version answers 409, a failed test an opaque 422.
        {
            "op": "replace",
            "path": "/metadata/resourceVersion",
            "value": metadata["resourceVersion"],
        },
        {"op": "replace", "path": "/metadata/managedFields", "value": [*rest, ours]},
    ]
    if _LAST_APPLIED in (metadata.get("annotations") or {}):
        name = _LAST_APPLIED.replace("/", "~1")
        patch.append({"op": "remove", "path": f"/metadata/annotations/{name}"})
        node = fields.get("f:metadata", {}).get("f:annotations", {})
        node.pop(f"f:{_LAST_APPLIED}", None)
    return patch


def _predecessors(live: Manifest) -> list[dict[str, Any]]:
    """Return entries of tools that stated this object before; none while one of them still applies it."""
    return [
        entry
        for entry in _others(live)
        if entry.get("manager") in _PREDECESSORS and not entry.get("subresource")
    ]


def _others(live: Manifest) -> list[dict[str, Any]]:
    own = own_entry(live)
    return [entry for entry in managed_fields(live) if entry is not own]


def _is_person(manager: str) -> bool:
    return manager.startswith("kubectl") or manager in _PREDECESSORS


def _body(desired: DesiredObject, uid: str) -> Json:
    if not uid:
        return desired.manifest
    return {**desired.manifest, "metadata": {**desired.manifest["metadata"], "uid": uid}}


def _copy(fields: Fields) -> Fields:
    return {name: _copy(node) for name, node in fields.items()}


def _unite(into: Fields, other: Fields) -> None:
    """Unite two sets; a node that is both a leaf and a parent keeps itself as `.`."""
    for name, node in other.items():
        mine = into.get(name)
        if mine is None:
            into[name] = node
            continue
        if bool(mine) != bool(node):
            mine.setdefault(".", {})
        _unite(mine, node)


def _split_restart(fields: Fields) -> Fields:
    """Take `kubectl rollout restart`'s stamp out of a set, or taking it over would restart everything."""
    node: Any = fields
    for name in _RESTARTED_AT:
        node = node.get(name)
        if not isinstance(node, dict):
            return {}
    if node.pop(_RESTART_KEY, None) is None:
        return {}
    kept: Fields = {_RESTART_KEY: {}}
    for name in reversed(_RESTARTED_AT):
        kept = {name: kept}
    return kept


def _add_leaf(fields: Fields, path: tuple[str, ...]) -> None:
    """Add one path; a leaf on the way keeps itself as `.`."""
    leaf: Fields = {}
    for name in reversed(path):
        leaf = {name: leaf}
    _unite(fields, leaf)


def _as_path(field: str) -> tuple[str, ...]:
    """Return a field of a Status cause as elements; only plain paths: `spec.strategy.rollingUpdate`."""
    return () if not field or "[" in field else tuple(f"f:{part}" for part in field.split("."))


def _is_absent(desired: DesiredObject, path: tuple[str, ...]) -> bool:
    value: Any = desired.manifest
    for name in path:
        if not isinstance(value, dict) or name[2:] not in value:
            return True
        value = value[name[2:]]
    return False
