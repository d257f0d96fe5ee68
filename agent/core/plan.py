"""From desired objects, inventory and what is live to an ordered list of actions. Pure and idempotent.

Deletes come only from the inventory, only where they are asked for, and never many at once: above the cap, for kinds
whose loss cannot be undone, and when nothing at all was rendered, they are held and said to be (D42, K11).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent.core.inventory import Inventory, undesired
from agent.core.objects import DesiredObject, ObjectKey
from agent.core.ordering import apply_order, prune_order

CAP_COUNT = 10
CAP_PERCENT = 25
PROTECTED = frozenset(
    {
        ("", "Namespace"),
        ("", "PersistentVolumeClaim"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("argoproj.io", "Application"),
    }
)


class LiveState(StrEnum):
    """What comparing a live object with its desired one, or with its record, said."""

    EQUAL = "Equal"
    DIFFERS = "Differs"  # git has changed, or somebody changed what git states
    UNSURE = "Unsure"
    RECLAIM = "Reclaim"  # right values, ownership lost


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFacts:
    """What is known of one live object; keys without facts are not live."""

    uid: str
    state: LiveState = LiveState.EQUAL
    path: str = ""  # the field that differs
    terminating: bool = False
    prune_disabled: bool = False  # its own annotation says Prune=false
    is_ours: bool = False  # it has our Apply entry and this Application's tracking id
    owner: str = ""  # another Application that recorded this uid, namespace/name


class ActionKind(StrEnum):
    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    PRUNED = "pruned"
    SKIPPED = "skipped"
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One step. `desired` is None for prunes, held and skipped ones included."""

    kind: ActionKind
    key: ObjectKey
    reason: str = ""
    desired: DesiredObject | None = None
    uid: str = ""  # of the live object: the precondition of a delete, the target of an update

    @property
    def writes(self) -> bool:
        return self.kind in {ActionKind.CREATED, ActionKind.CONFIGURED, ActionKind.PRUNED}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    prune: bool = False
    allow_empty: bool = False
    approved: bool = False  # somebody consented to the prunes that would be held
    only: frozenset[ObjectKey] | None = None  # a partial sync; None is everything


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    actions: tuple[Action, ...]
    held: tuple[str, ...] = ()  # one sentence for each reason that prunes are held
    gone: tuple[ObjectKey, ...] = ()  # recorded, but no longer there or not ours: forget them
    shared: tuple[str, ...] = ()  # objects another Application manages, one sentence each

    @property
    def is_noop(self) -> bool:
        return not any(action.writes for action in self.actions)

    @property
    def in_sync(self) -> bool:
        """Tell whether the cluster says what git says: nothing to write, nothing left over."""
        return all(action.kind is ActionKind.UNCHANGED for action in self.actions)

    @property
    def only_prunes_left(self) -> bool:
        """Tell whether git's objects are all as stated and only left-over ones remain."""
        return not self.in_sync and all(
            action.desired is None or action.kind is ActionKind.UNCHANGED for action in self.actions
        )


def plan(
    desired: Sequence[DesiredObject],
    inventory: Inventory,
    live: Mapping[ObjectKey, LiveFacts],
    options: PlanOptions,
) -> Plan:
    """Return what a sync would do now, in order: applies first, then prunes in reverse order.

    `live` must hold facts for every desired and every recorded object that exists; the caller has fetched,
    rendered and listed without a single error, or does not plan at all.
    """
    wanted = [item for item in desired if _is_selected(item.key, options)]
    applies = [_plan_apply(item, live.get(item.key)) for item in apply_order(wanted)]
    left_over, gone = _left_over(desired, inventory, live)
    prunes, held = _plan_prunes(
        [key for key in prune_order(left_over) if _is_selected(key, options)],
        inventory,
        live,
        _PruneGate(options=options, rendered=len(desired)),
    )
    shared = [
        f"{item.key} belongs to Application {facts.owner}"
        for item in desired
        if (facts := live.get(item.key)) is not None and facts.owner
    ]
    return Plan(actions=(*applies, *prunes), held=held, gone=gone, shared=tuple(shared))


def _is_selected(key: ObjectKey, options: PlanOptions) -> bool:
    return options.only is None or key in options.only


def _plan_apply(desired: DesiredObject, facts: LiveFacts | None) -> Action:
    if facts is None:
        return Action(kind=ActionKind.CREATED, key=desired.key, desired=desired)
    kind, reason = ActionKind.CONFIGURED, facts.path
    if facts.owner:
        kind, reason = ActionKind.SKIPPED, f"belongs to Application {facts.owner}"
    elif facts.terminating:
        # An apply to a terminating object answers 200 and may drop the finalizer it waits for.
        kind, reason = ActionKind.SKIPPED, "is being deleted"
    elif facts.state is LiveState.EQUAL:
        kind = ActionKind.UNCHANGED
    return Action(kind=kind, key=desired.key, reason=reason, desired=desired, uid=facts.uid)


def _left_over(
    desired: Sequence[DesiredObject], inventory: Inventory, live: Mapping[ObjectKey, LiveFacts]
) -> tuple[list[ObjectKey], tuple[ObjectKey, ...]]:
    """Split the recorded keys that git lacks into those to prune and those to forget."""
    left_over: list[ObjectKey] = []
    gone: list[ObjectKey] = []
    for key in undesired(inventory, (item.key for item in desired)):
        facts = live.get(key)
        recorded = inventory.entries[key].uid
        is_ours = facts is not None and (facts.uid == recorded or facts.is_ours)
        if facts is None or facts.owner or not is_ours:
            gone.append(key)
        else:
            left_over.append(key)
    return left_over, tuple(gone)


@dataclass(frozen=True, slots=True)
class _PruneGate:
    options: PlanOptions
    rendered: int


def _plan_prunes(
    keys: Sequence[ObjectKey],
    inventory: Inventory,
    live: Mapping[ObjectKey, LiveFacts],
    gate: _PruneGate,
) -> tuple[list[Action], tuple[str, ...]]:
    actions = {key: _prune_or_skip(key, live[key], gate.options) for key in keys}
    pruned = [key for key, action in actions.items() if action.kind is ActionKind.PRUNED]
    reasons = {} if gate.options.approved else _hold(pruned, len(inventory.entries), gate)
    for key, reason in reasons.items():
        actions[key] = Action(kind=ActionKind.HELD, key=key, reason=reason, uid=actions[key].uid)
    return list(actions.values()), tuple(dict.fromkeys(reasons.values()))


def _prune_or_skip(key: ObjectKey, facts: LiveFacts, options: PlanOptions) -> Action:
    kind, reason = ActionKind.PRUNED, ""
    if facts.terminating:
        kind, reason = ActionKind.SKIPPED, "is being deleted"
    elif facts.prune_disabled:
        kind, reason = ActionKind.SKIPPED, "its annotation says Prune=false"
    elif not options.prune:
        kind, reason = ActionKind.SKIPPED, "pruning is off"
    return Action(kind=kind, key=key, reason=reason, uid=facts.uid)


def _hold(pruned: Sequence[ObjectKey], total: int, gate: _PruneGate) -> dict[ObjectKey, str]:
    """Return the prunes that need consent, and why."""
    if not pruned:
        return {}
    if gate.rendered == 0 and not gate.options.allow_empty:
        sentence = (
            f"all {total} objects would be pruned because git states none: held; "
            "set syncPolicy.automated.allowEmpty if that is meant"
        )
        return dict.fromkeys(pruned, sentence)
    if len(pruned) > CAP_COUNT and len(pruned) * 100 > total * CAP_PERCENT:
        sentence = (
            f"{len(pruned)} of {total} objects would be pruned, more than {CAP_COUNT} and more than "
            f"{CAP_PERCENT} %: held until it is approved"
        )
        return dict.fromkeys(pruned, sentence)
    return {
        key: f"{key} would be pruned: this kind is held until it is approved"
        for key in pruned
        if (key.group, key.kind) in PROTECTED
    }
