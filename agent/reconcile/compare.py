"""What is known of each object, against what git states: the facts a plan is made from. No request for what is known.

A request is made in three abnormal cases only: a watch said an object is gone (somebody may just have taken the label
off), the inventory names one that no watch shows, or an object has to be judged and its bytes are not at hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from agent.cluster.port import Cluster, Kind, Place
from agent.core.decide import Verdict, decide
from agent.core.fields import fields_of, own_entry
from agent.core.inventory import Entry, Inventory
from agent.core.managers import who_changed
from agent.core.objects import DesiredObject, Manifest, ObjectKey
from agent.core.ownership import (
    Change,
    ChangeKind,
    Drift,
    InSync,
    Reclaim,
    compare,
    digest,
    presence_only,
    record,
)
from agent.core.plan import LiveFacts, LiveState
from agent.reconcile.observed import clear, observe
from agent.reconcile.state import AppState, ObjectState, Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """Where the kinds of an Application's objects are kept, desired and recorded ones."""

    by_key: Mapping[ObjectKey, Kind]

    def place(self, key: ObjectKey) -> Place | None:
        kind = self.by_key.get(key)
        return None if kind is None else Place(kind=kind, name=key.name, namespace=key.namespace)


class Comparer:
    """Judges what the watches left to be judged, and hands out facts."""

    def __init__(self, cluster: Cluster, registry: Registry, key: bytes) -> None:
        self._cluster = cluster
        self._registry = registry
        self._key = key

    def facts(
        self, app: AppState, desired: Sequence[DesiredObject], inventory: Inventory, kinds: Kinds
    ) -> dict[ObjectKey, LiveFacts]:
        """Return facts of every desired and recorded object that exists, or raise what a GET raised."""
        wanted = {item.key: item for item in desired}
        found: dict[ObjectKey, LiveFacts] = {}
        for key in {*wanted, *inventory.entries}:
            owner = self._registry.owner(key)
            if owner and owner != str(app.identity):
                found[key] = LiveFacts(uid="", owner=owner)
                continue
            entry = inventory.entries.get(key)
            state = self._find(app, key, entry, kinds)
            if state is not None:
                found[key] = self._one(state, wanted.get(key), entry)
        return found

    def _find(
        self, app: AppState, key: ObjectKey, entry: Entry | None, kinds: Kinds
    ) -> ObjectState | None:
        state = self._registry.find_object(key)
        if state is None:
            return None if entry is None else self._ask(app, key, kinds)
        if state.gone:
            return self._ask(app, key, kinds)
        return state if state.uid else None

    def _ask(self, app: AppState, key: ObjectKey, kinds: Kinds) -> ObjectState | None:
        place = kinds.place(key)
        live = None if place is None else self._cluster.find(place)
        with self._registry.lock:
            state = self._registry.ensure_object(key)
            if live is None:
                clear(state)
                return None
            observe(state, live, self._key, app.identity)
            return state

    def _one(
        self, state: ObjectState, desired: DesiredObject | None, entry: Entry | None
    ) -> LiveFacts:
        if desired is None:
            return _facts(state, LiveState.EQUAL, "")
        with self._registry.lock:
            pending, version = state.live, state.version
        if pending is not None:
            self._judge(state, desired, entry, orjson.loads(pending))
            with self._registry.lock:
                if state.version == version:
                    state.live = None
        if state.owned is None or state.hash != desired.hash:
            verdict = state.verdict if state.owned is None else LiveState.DIFFERS
            return _facts(state, verdict, state.path or "git states something else")
        return _facts(state, state.verdict, state.path)

    def _judge(
        self, state: ObjectState, desired: DesiredObject, entry: Entry | None, live: Manifest
    ) -> None:
        if state.owned is not None and state.hash == desired.hash:
            outcome = compare(state.owned, live, self._key, desired.manifest)
            match outcome:
                case InSync():
                    state.verdict, state.path, state.changes = LiveState.EQUAL, "", ()
                case Drift(changes=changes):
                    state.verdict, state.path = LiveState.DIFFERS, changes[0].path
                    state.changes = changes
                case Reclaim():
                    state.verdict, state.path, state.changes = LiveState.RECLAIM, "", ()
            return
        if state.owned is not None:
            # Git has moved on; the apply that follows takes in whatever happened besides.
            state.verdict, state.path = LiveState.DIFFERS, "git states something else"
            return
        self._judge_anew(state, desired, entry, live)

    def _judge_anew(
        self, state: ObjectState, desired: DesiredObject, entry: Entry | None, live: Manifest
    ) -> None:
        """Judge without a baseline: after a restart, or an object somebody else made (engine.md 9)."""
        if _is_recorded(desired, entry, live, self._key):
            self._registry.keep(state, record(desired.manifest, live, self._key), desired.hash)
            return
        decision = decide(desired.manifest, live)
        match decision.verdict:
            case Verdict.EQUAL:
                owned = record(desired.manifest, live, self._key)
                self._registry.keep(state, owned, desired.hash)
            case Verdict.UNSURE:
                state.verdict, state.path = LiveState.UNSURE, decision.path
            case Verdict.APPLY:
                state.verdict, state.path = LiveState.DIFFERS, decision.path or decision.why
                if entry is not None and entry.hash == desired.hash:
                    state.changes = (_change_while_away(live, decision.path),)


def _is_recorded(desired: DesiredObject, entry: Entry | None, live: Manifest, key: bytes) -> bool:
    if entry is None or not entry.digest or entry.hash != desired.hash:
        return False
    if entry.uid != live["metadata"]["uid"]:
        return False
    only = presence_only(desired.manifest, fields_of(own_entry(live)))
    return digest(live, only, key) == entry.digest


def _change_while_away(live: Manifest, path: str) -> Change:
    """Return what can be told of a change that nobody watched: where, and who if the entries say."""
    elements = tuple(f"f:{part}" for part in path.split("."))
    return Change(
        path=path,
        was="",
        became="",
        manager=who_changed(live, elements) if path and "[" not in path else "",
        kind=ChangeKind.CHANGED,
    )


def without_reclaim(facts: LiveFacts) -> LiveFacts:
    """Return facts for those who must not write on their own: right values that somebody else owns are right."""
    return replace(facts, state=LiveState.EQUAL) if facts.state is LiveState.RECLAIM else facts


def _facts(state: ObjectState, verdict: LiveState, path: str) -> LiveFacts:
    return LiveFacts(
        uid=state.uid,
        state=verdict,
        path=path if verdict is not LiveState.EQUAL else "",
        terminating=state.terminating,
        prune_disabled=state.prune_disabled,
        is_ours=state.is_ours,
    )
