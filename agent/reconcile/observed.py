"""From a live object to what is remembered of it, in the thread that received it."""

import orjson

from agent.core.health.assess import assess
from agent.core.health.result import mapping, number
from agent.core.inventory import is_ours
from agent.core.managers import foreign_fields
from agent.core.objects import LABEL, AppIdentity, Manifest, annotations_of
from agent.core.ordering import is_prune_disabled
from agent.core.ownership import digest
from agent.reconcile.state import ObjectState

_MAX_EXTRA = 10
_REPLICATED = frozenset({"Deployment", "StatefulSet", "ReplicaSet"})


def observe(state: ObjectState, live: Manifest, key: bytes, app: AppIdentity | None) -> bool:
    """Take in a live object; returns whether somebody should look at its Application.

    The caller holds the registry's lock and has ruled out old news.
    """
    metadata = live["metadata"]
    recreated = bool(state.uid) and state.uid != metadata["uid"]
    before = _summary(state)
    state.api_version = str(live.get("apiVersion", ""))
    state.uid = str(metadata["uid"])
    state.version = resource_version(live)
    state.terminating = bool(metadata.get("deletionTimestamp"))
    state.instance = str((metadata.get("labels") or {}).get(LABEL) or "")
    state.is_ours = app is not None and is_ours(live, app)
    state.prune_disabled = is_prune_disabled(annotations_of(live))
    state.health = assess(live)
    state.replicas = _replicas(live)
    state.gone = False
    if recreated:
        state.owned, state.hash = None, ""
    if state.owned is not None and digest(live, state.owned.presence_only, key) == (
        state.owned.digest
    ):
        state.live = None
        state.changes = ()
        state.extra = _extra(live)
        # Back where it was: what a worker found different before is so no longer.
        state.verdict, state.path = type(state.verdict).EQUAL, ""
    else:
        state.live = orjson.dumps(live)
        if state.owned is None:
            state.extra = _extra(live)
        # Else somebody may just have taken a field of ours, which is drift and not an addition.
    return recreated or state.live is not None or before != _summary(state)


def clear(state: ObjectState) -> None:
    """Remember that there is no such object, so that nobody asks again."""
    fresh = ObjectState(key=state.key)
    for name in ObjectState.__slots__:
        setattr(state, name, getattr(fresh, name))


def resource_version(live: Manifest) -> int:
    """Return the resourceVersion as a number; they are comparable per resource (engine.md 1, E7)."""
    text = str(live["metadata"].get("resourceVersion") or "0")
    return int(text) if text.isdecimal() else 0


def _summary(state: ObjectState) -> tuple[object, ...]:
    return (
        state.terminating,
        state.health,
        state.replicas,
        state.extra,
        state.verdict,
    )


def _replicas(live: Manifest) -> tuple[int, int]:
    status, kind = mapping(live, "status"), str(live.get("kind"))
    if kind == "DaemonSet":
        return number(status, "numberReady"), number(status, "desiredNumberScheduled")
    if kind in _REPLICATED:
        return number(status, "readyReplicas"), number(mapping(live, "spec"), "replicas", 1)
    return 0, 0


def _extra(live: Manifest) -> tuple[str, ...]:
    """Return what others added beside what git states, one line a manager (D47)."""
    metadata = live["metadata"]
    where = f"{live.get('kind')} {metadata.get('namespace', '')}/{metadata['name']}"
    lines = []
    for foreign in foreign_fields(live):
        more = len(foreign.paths) - _MAX_EXTRA
        shown = ", ".join(foreign.paths[:_MAX_EXTRA]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"{where}: {foreign.manager} added {shown}")
    return tuple(lines)
