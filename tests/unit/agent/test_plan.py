"""Inventory and plan: deletes come from the inventory only, and never many at once (D14, D42, K11, K12)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.inventory import (
    SHARD_SIZE,
    Entry,
    Inventory,
    after,
    before,
    find_foreign,
    from_shards,
    is_ours,
    to_shards,
    undesired,
)
from agent.core.objects import TRACKING, AppIdentity, DesiredObject, ObjectKey, tracking_id
from agent.core.plan import (
    Action,
    ActionKind,
    LiveFacts,
    LiveState,
    Plan,
    PlanOptions,
    plan,
)

APP = AppIdentity(namespace="argocd", name="shop")
PRUNE = PlanOptions(prune=True)


def key(name: str, kind: str = "ConfigMap", group: str = "", namespace: str = "prod") -> ObjectKey:
    return ObjectKey(group=group, kind=kind, namespace=namespace, name=name)


def desired(found: ObjectKey) -> DesiredObject:
    return DesiredObject(key=found, api_version="v1", manifest={}, origin="f.yaml:1", hash="h")


def inventory(*keys: ObjectKey) -> Inventory:
    return Inventory(app=APP, entries={found: Entry(uid=f"uid-{found.name}") for found in keys})


def live(*keys: ObjectKey, **facts) -> dict[ObjectKey, LiveFacts]:
    return {found: LiveFacts(uid=f"uid-{found.name}", **facts) for found in keys}


def kinds(made: Plan) -> dict[str, str]:
    return {action.key.name: str(action.kind) for action in made.actions}


def test_a_plan_creates_configures_leaves_and_prunes():
    made = plan(
        [desired(key("new")), desired(key("changed")), desired(key("same"))],
        inventory(key("changed"), key("same"), key("old")),
        {
            **live(key("changed"), state=LiveState.DIFFERS, path="spec.replicas"),
            **live(key("same"), key("old")),
        },
        PlanOptions(prune=True),
    )
    assert kinds(made) == {
        "changed": "configured",
        "new": "created",
        "same": "unchanged",
        "old": "pruned",
    }
    by_name = {action.key.name: action for action in made.actions}
    assert by_name["changed"].reason == "spec.replicas"
    assert by_name["old"].uid == "uid-old"
    assert (made.is_noop, made.in_sync, made.only_prunes_left) == (False, False, False)


@pytest.mark.parametrize("state", [LiveState.UNSURE, LiveState.RECLAIM, LiveState.DIFFERS])
def test_whatever_is_not_equal_gets_one_apply(state):
    made = plan([desired(key("a"))], inventory(), live(key("a"), state=state), PlanOptions())
    assert kinds(made) == {"a": "configured"}


def test_pruning_is_off_by_default_and_the_left_over_keeps_the_application_out_of_sync():
    made = plan(
        [desired(key("a"))],
        inventory(key("a"), key("old")),
        live(key("a"), key("old")),
        PlanOptions(),
    )
    assert kinds(made) == {"a": "unchanged", "old": "skipped"}
    assert (made.is_noop, made.in_sync, made.only_prunes_left) == (True, False, True)


def test_an_object_that_says_prune_false_is_left():
    made = plan(
        [desired(key("a"))],
        inventory(key("old")),
        live(key("a"), key("old"), prune_disabled=True),
        PRUNE,
    )
    assert made.actions[-1].reason == "its annotation says Prune=false"


def test_terminating_objects_are_neither_applied_nor_deleted_again():
    """An apply could drop the finalizer that the deletion waits for (E8)."""
    made = plan(
        [desired(key("a"))],
        inventory(key("old")),
        live(key("a"), key("old"), terminating=True),
        PRUNE,
    )
    assert kinds(made) == {"a": "skipped", "old": "skipped"}
    assert {action.reason for action in made.actions} == {"is being deleted"}


def test_an_object_of_another_application_is_neither_applied_nor_pruned():
    """K13: neither of the two prunes it."""
    facts = live(key("a"), key("old"), owner="argocd/other")
    made = plan([desired(key("a"))], inventory(key("a"), key("old")), facts, PRUNE)
    assert kinds(made) == {"a": "skipped"}
    assert made.shared == ("ConfigMap prod/a belongs to Application argocd/other",)
    assert made.gone == (key("old"),)


def test_a_recorded_object_that_is_gone_or_was_recreated_by_others_is_forgotten():
    recorded = Inventory(
        app=APP,
        entries={
            key("gone"): Entry(uid="1"),
            key("theirs"): Entry(uid="2"),
            key("claimed"): Entry(),
        },
    )
    made = plan([desired(key("a"))], recorded, live(key("a"), key("theirs"), key("claimed")), PRUNE)
    assert set(made.gone) == set(recorded.entries)
    assert kinds(made) == {"a": "unchanged"}


def test_a_key_without_uid_is_pruned_once_the_object_is_shown_to_be_ours():
    """D14: the crash was between intent and answer."""
    recorded = Inventory(app=APP, entries={key("claimed"): Entry()})
    made = plan([desired(key("a"))], recorded, live(key("a"), key("claimed"), is_ours=True), PRUNE)
    assert kinds(made) == {"a": "unchanged", "claimed": "pruned"}


def many(count: int) -> list[ObjectKey]:
    return [key(f"x{i:03}") for i in range(count)]


@pytest.mark.parametrize(
    ("total", "pruned", "held"),
    [
        (40, 10, False),
        (40, 11, True),
        (44, 11, False),
        (43, 11, True),
        (12, 10, False),
        (100, 25, False),
        (100, 26, True),
    ],
)
def test_more_than_ten_and_more_than_a_quarter_are_held(total, pruned, held):
    """D42, at its bounds."""
    keys = many(total)
    kept = [desired(found) for found in keys[pruned:]]
    made = plan(kept, inventory(*keys), live(*keys), PRUNE)
    counted = sum(action.kind is ActionKind.HELD for action in made.actions)
    assert counted == (pruned if held else 0)
    assert len(made.held) == (1 if held else 0)
    if held:
        assert f"{pruned} of {total} objects" in made.held[0]


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        *(("Namespace", ""), ("PersistentVolumeClaim", "")),
        *(("CustomResourceDefinition", "apiextensions.k8s.io"), ("Application", "argoproj.io")),
    ],
)
def test_protected_kinds_are_held_one_by_one_until_approved(kind, group):
    """The others of the same plan go on."""
    precious = key("precious", kind, group)
    keys = [key("a"), key("old"), precious]
    made = plan([desired(key("a"))], inventory(*keys), live(*keys), PRUNE)
    assert kinds(made) == {"a": "unchanged", "precious": "held", "old": "pruned"}
    assert made.held == (
        f"{kind} prod/precious would be pruned: this kind is held until it is approved",
    )
    approved = plan(
        [desired(key("a"))], inventory(*keys), live(*keys), PlanOptions(prune=True, approved=True)
    )
    assert kinds(approved)["precious"] == "pruned"


def test_nothing_rendered_while_something_is_recorded_is_held():
    """K11: an empty render must not empty a cluster."""
    made = plan([], inventory(key("a")), live(key("a")), PRUNE)
    assert kinds(made) == {"a": "held"}
    assert "all 1 objects would be pruned" in made.held[0]
    meant = plan([], inventory(key("a")), live(key("a")), PlanOptions(prune=True, allow_empty=True))
    assert kinds(meant) == {"a": "pruned"}


def test_a_partial_sync_touches_only_what_was_named():
    options = PlanOptions(prune=True, only=frozenset({key("a")}))
    made = plan(
        [desired(key("a")), desired(key("b"))], inventory(key("old")), live(key("old")), options
    )
    assert kinds(made) == {"a": "created"}


def test_the_inventory_is_written_before_only_if_the_key_set_grows():
    """And holds old and new together then, so that a crash orphans nothing."""
    recorded = inventory(key("a"))
    assert before(recorded, [key("a")]) is recorded
    grown = before(recorded, [key("b")])
    assert grown.entries == {key("a"): Entry(uid="uid-a"), key("b"): Entry()}


def test_the_inventory_is_exact_afterwards_and_written_only_if_it_changed():
    recorded = inventory(key("a"), key("held"), key("pruned"))
    now = {key("a"): Entry(uid="uid-a", hash="h", digest="d")}
    exact = after(recorded, now, [key("pruned")])
    assert exact.entries == {**now, key("held"): Entry(uid="uid-held")}
    assert after(exact, now) is exact
    assert undesired(exact, [key("a")]) == (key("held"),)


def test_large_inventories_are_sharded_and_read_back():
    """D14: 2,000 keys a shard."""
    keys = [key(f"n{i}", "Role", "rbac.authorization.k8s.io") for i in range(SHARD_SIZE + 1)]
    entries = {
        found: Entry(uid="u", hash="h", digest="d")
        for found in [*keys, key("system:x/y", namespace="")]
    }
    shards = to_shards(Inventory(app=APP, entries=entries), "lockgate-system")
    assert [len(shard["spec"]["entries"]) for shard in shards] == [SHARD_SIZE, 2]
    assert [shard["metadata"]["name"] for shard in shards] == [f"{APP.label}-0", f"{APP.label}-1"]
    assert from_shards(APP, shards).entries == entries
    assert len(to_shards(Inventory(app=APP), "lockgate-system")) == 1
    assert from_shards(APP, [{}, {"spec": {"entries": None}}]).entries == {}


def test_shards_of_two_generations_unite_and_keep_what_is_known():
    """A crash between two writes: what has a uid wins over a mere claim."""
    known, claim = inventory(key("a")), before(Inventory(app=APP), [key("a"), key("b")])
    shards = [*to_shards(claim, "x"), *to_shards(known, "x"), *to_shards(claim, "x")]
    assert from_shards(APP, shards).entries == {key("a"): Entry(uid="uid-a"), key("b"): Entry()}
    short = {"spec": {"entries": {"/ConfigMap/prod/a": "only-uid"}}}
    assert from_shards(APP, [short]).entries == {key("a"): Entry(uid="only-uid")}


def tracked(found: ObjectKey, tracking: str, *, applied: bool = True) -> dict:
    entry = {"manager": "lockgate", "operation": "Apply", "fieldsV1": {}}
    metadata = {
        "name": found.name,
        "namespace": found.namespace,
        "annotations": {TRACKING: tracking},
    }
    api = f"{found.group}/v1" if found.group else "v1"
    return {
        "apiVersion": api,
        "kind": found.kind,
        "metadata": {**metadata, "managedFields": [entry] if applied else []},
    }


def test_an_object_is_ours_by_apply_entry_and_its_own_tracking_id():
    """K12: a child that copied its owner's annotations is not."""
    mine, cluster_wide = key("a"), key("r", "ClusterRole", "rbac.authorization.k8s.io", "")
    assert is_ours(tracked(mine, tracking_id(APP, mine, "prod")), APP)
    assert is_ours(tracked(cluster_wide, tracking_id(APP, cluster_wide, "prod")), APP)
    assert not is_ours(tracked(mine, tracking_id(APP, mine, "prod"), applied=False), APP)
    for other in (key("b"), key("a", "Secret"), key("a", namespace="dev")):
        assert not is_ours(tracked(mine, tracking_id(APP, other, "prod")), APP)
    stranger = AppIdentity(namespace="argocd", name="other")
    assert not is_ours(tracked(mine, tracking_id(stranger, mine, "prod")), APP)


def test_a_uid_recorded_by_another_application_is_found():
    other = Inventory(
        app=AppIdentity(namespace="argocd", name="other"),
        entries={key("z"): Entry(uid="1"), key("y"): Entry()},
    )
    assert find_foreign([other], {key("a"): "1", key("b"): "", key("c"): "3"}) == {
        key("a"): other.app
    }


KEYS = st.builds(
    key,
    st.sampled_from([f"n{i}" for i in range(30)]),
    st.sampled_from(["ConfigMap", "Deployment", "Namespace"]),
)
FACTS = st.builds(
    LiveFacts,
    uid=st.sampled_from(["1", "2"]),
    state=st.sampled_from(LiveState),
    terminating=st.booleans(),
    prune_disabled=st.booleans(),
    is_ours=st.booleans(),
    owner=st.sampled_from(["", "", "argocd/other"]),
)
WORLDS = st.fixed_dictionaries(
    {
        "desired": st.sets(KEYS),
        "recorded": st.dictionaries(
            KEYS, st.sampled_from([Entry(), Entry(uid="1"), Entry(uid="2")])
        ),
        "live": st.dictionaries(KEYS, FACTS),
        "options": st.builds(
            PlanOptions, prune=st.booleans(), allow_empty=st.booleans(), approved=st.booleans()
        ),
    }
)


def plan_of(world: dict) -> Plan:
    recorded = Inventory(app=APP, entries=world["recorded"])
    return plan(
        [desired(found) for found in world["desired"]], recorded, world["live"], world["options"]
    )


def carry_out(world: dict, action: Action) -> None:
    found = action.key
    if action.kind is ActionKind.PRUNED:
        del world["live"][found], world["recorded"][found]
    elif action.writes:
        world["live"][found] = LiveFacts(uid=action.uid or "new")
        world["recorded"][found] = Entry(uid=action.uid or "new")


@given(WORLDS)
def test_prune_never_leaves_the_inventory(world):
    """And never touches what git states, what is another's, or another uid that is not shown to be ours."""
    made = plan_of(world)
    for action in made.actions:
        if action.kind is ActionKind.PRUNED:
            facts = world["live"][action.key]
            assert action.key in world["recorded"]
            assert action.key not in world["desired"]
            assert world["options"].prune
            assert not facts.owner
            assert action.uid == facts.uid
            assert facts.is_ours or facts.uid == world["recorded"][action.key].uid
    assert set(made.gone) <= set(world["recorded"]) - world["desired"]


@given(WORLDS)
def test_a_plan_carried_out_leaves_nothing_to_do(world):
    """Idempotent: planning again writes nothing, and holds what it held."""
    first = plan_of(world)
    for action in first.actions:
        carry_out(world, action)
    for found in first.gone:
        world["recorded"].pop(found)
    second = plan_of(world)
    held = {action.key for action in first.actions if action.kind is ActionKind.HELD}
    if not held:
        assert second.is_noop
    assert not any(a.kind in {ActionKind.CREATED, ActionKind.CONFIGURED} for a in second.actions)
    assert second.gone == ()
