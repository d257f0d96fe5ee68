"""Drift by owned fields, on objects recorded from a real API server (design/engine.md 1, 2, 5)."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.decide import Verdict, decide
from agent.core.fields import (
    MISSING,
    child_value,
    desired_child,
    fields_of,
    humanise,
    item_keys,
    item_order,
    leaves,
    own_entry,
)
from agent.core.managers import foreign_fields, who_changed
from agent.core.ownership import (
    ChangeKind,
    Drift,
    InSync,
    Reclaim,
    compare,
    digest,
    presence_only,
    record,
)

RECORDED = json.loads((Path(__file__).parent / "recorded_objects.json").read_text(encoding="utf-8"))
OBJECTS = RECORDED["objects"]
IDS = [f"{o['desired']['kind']}-{o['desired']['metadata']['name']}" for o in OBJECTS]
WEB = OBJECTS[IDS.index("Deployment-web")]
KEY = b"k" * 32


def after(name: str) -> dict:
    return next(d["after"] for d in RECORDED["drifts"] if d["name"] == name)


def drift_of(name: str):
    return compare(record(WEB["desired"], WEB["applied"], KEY), after(name), KEY, WEB["desired"])


@pytest.mark.parametrize("case", OBJECTS, ids=IDS)
def test_what_controllers_do_after_an_apply_is_no_drift(case):
    """The digest of the server's answer equals that of every later state (engine 3)."""
    recorded = record(case["desired"], case["applied"], KEY)
    assert compare(recorded, case["later"] or case["applied"], KEY) == InSync()


@pytest.mark.parametrize("case", OBJECTS, ids=IDS)
def test_a_restart_finds_every_fresh_object_equal(case):
    """With no stored state nothing needs a request, but for the atomic list that admission lengthened."""
    verdict = decide(case["desired"], case["later"] or case["applied"]).verdict
    is_lengthened = case["desired"]["metadata"]["name"] == "tolerant"
    assert verdict is (Verdict.UNSURE if is_lengthened else Verdict.EQUAL)


@pytest.mark.parametrize(
    ("name", "path", "was", "became", "manager", "kind"),
    [
        ("scale", "spec.replicas", "2", "4", "kubectl", ChangeKind.CHANGED),
        ("hpa", "spec.replicas", "2", "5", "kube-controller-manager", ChangeKind.CHANGED),
        ("forced by other", "spec.replicas", "2", "7", "other", ChangeKind.CHANGED),
        ("label", "metadata.labels.tier", "front", "other", "kubectl-label", ChangeKind.CHANGED),
        ("remove label", "metadata.labels.tier", "front", "", "", ChangeKind.REMOVED),
    ],
)
def test_a_changed_field_is_named_with_its_values_and_who_did_it(
    name, path, was, became, manager, kind
):
    """The scale subresource too; a pure removal is known to nobody."""
    found = drift_of(name)
    assert isinstance(found, Drift)
    (change,) = found.changes
    assert (change.path, change.was, change.became, change.manager, change.kind) == (
        *(path, was, became),
        *(manager, kind),
    )
    assert decide(WEB["desired"], after(name)).verdict is Verdict.APPLY


@pytest.mark.parametrize(
    ("name", "path", "manager"),
    [
        ("set env", "spec.template.spec.containers[web].env[A].value", "kubectl-set"),
        ("set image", "spec.template.spec.containers[web].image", "kubectl-set"),
        ("valueFrom", "spec.template.spec.containers[web].env[A].value", "kubectl-patch"),
        ("remove env", "spec.template.spec.containers[web].env[A]", ""),
    ],
)
def test_a_change_in_a_list_item_names_the_item_by_its_key(name, path, manager):
    """A removed item is named once, a value traded for valueFrom names who traded it."""
    found = drift_of(name)
    assert isinstance(found, Drift)
    assert [(change.path, change.manager) for change in found.changes] == [(path, manager)]


@pytest.mark.parametrize("name", ["extra env", "extra label", "paused"])
def test_what_others_add_beside_git_is_no_drift_but_listed(name):
    """D47: shown, not removed."""
    assert drift_of(name) == InSync()
    assert decide(WEB["desired"], after(name)).verdict is Verdict.EQUAL
    paths = {path for field in foreign_fields(after(name)) for path in field.paths}
    assert "spec.template.spec.containers[web].env[EXTRA]" in paths


def test_a_taken_field_that_git_states_is_not_listed_as_an_addition():
    live = after("label")
    assert foreign_fields(live)[0].paths == ("metadata.labels.tier",)
    assert foreign_fields(live, WEB["desired"]) == ()


def test_lost_ownership_with_equal_values_is_reclaimed_not_reported():
    """Rule E6."""
    assert drift_of("wipe managedFields") == Reclaim()


def test_reordering_owned_items_is_drift_by_nobody():
    """A human reordering env breaks $(A), and changes neither set nor values (rule E2)."""
    live = copy.deepcopy(WEB["applied"])
    env = live["spec"]["template"]["spec"]["containers"][0]["env"]
    env[0], env[1] = env[1], env[0]
    found = compare(record(WEB["desired"], WEB["applied"], KEY), live, KEY, WEB["desired"])
    assert isinstance(found, Drift)
    (change,) = found.changes
    assert change.kind is ChangeKind.REORDERED
    assert change.path == "spec.template.spec.containers[web].env"
    assert (change.was, change.became, change.manager) == (
        '["A","B","C","D"]',
        '["B","A","C","D"]',
        "",
    )
    assert decide(WEB["desired"], live).why == "the order changed"


def test_a_value_changed_while_we_still_own_it_was_changed_by_admission():
    """Set and time unchanged: nobody can be named."""
    live = copy.deepcopy(WEB["applied"])
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "mutated:1"
    found = compare(record(WEB["desired"], WEB["applied"], KEY), live, KEY)
    assert isinstance(found, Drift)
    assert found.changes[0].kind is ChangeKind.BY_ADMISSION
    assert (found.changes[0].was, found.changes[0].became) == ("", "mutated:1")


def test_a_value_of_a_secret_never_leaves():
    """Neither as was nor as became, and the digest is keyed."""
    secret = OBJECTS[IDS.index("Secret-web")]
    live = copy.deepcopy(secret["applied"])
    live["data"]["token"] = "b3RoZXItdmFsdWU="
    recorded = record(secret["desired"], secret["applied"], KEY)
    found = compare(recorded, live, KEY, secret["desired"])
    assert isinstance(found, Drift)
    assert [(c.path, c.was, c.became) for c in found.changes] == [("data.token", "", "")]
    other = record(secret["desired"], secret["applied"], b"j" * 32)
    assert other.digest != recorded.digest


def test_foreign_children_of_an_owned_empty_map_are_not_ours():
    """`resources: {}` owns its presence only (rule E3): a naive digest would see drift that no apply repairs."""
    recorded = record(WEB["desired"], WEB["applied"], KEY)
    live = copy.deepcopy(WEB["applied"])
    live["spec"]["template"]["spec"]["initContainers"][0]["resources"] = {"limits": {"cpu": "1"}}
    assert compare(recorded, live, KEY) == InSync()
    del live["spec"]["template"]["spec"]["initContainers"][0]["resources"]
    assert isinstance(compare(recorded, live, KEY), Drift)


def test_an_object_without_our_entry_has_an_empty_set():
    """Normal for an object of only a name (rule E1)."""
    bare = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    assert own_entry(bare) is None
    assert compare(record(bare, bare, KEY), bare, KEY) == InSync()


def test_an_entry_of_a_subresource_or_of_an_update_is_not_ours():
    entries = [
        {"manager": "lockgate", "operation": "Update"},
        {"manager": "lockgate", "operation": "Apply", "subresource": "status"},
    ]
    assert own_entry({"metadata": {"managedFields": [*entries, "broken"]}}) is None
    assert own_entry({"metadata": {"managedFields": "broken"}}) is None


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("f:metadata", "f:labels", "f:a.b/c"), "metadata.labels[a.b/c]"),
        (("f:spec", 'k:{"containerPort":80,"protocol":"TCP"}'), "spec[80,TCP]"),
        (("f:spec", 'v:"x"', "f:"), "spec[x][]"),
        (("f:f:x:y", "i:0"), "f:x:y[i:0]"),
    ],
)
def test_paths_are_written_as_people_write_them(path, text):
    assert humanise(path) == text


def test_list_items_match_by_all_keys_and_true_is_not_one():
    items = [{"a": 1}, {"a": True}, "x", {"a": 1.0, "b": 2}]
    assert child_value(items, 'k:{"a":true}') == {"a": True}
    assert child_value(items, 'k:{"a":1,"b":2}') == {"a": 1.0, "b": 2}
    assert child_value([1, "x", True], "v:true") is True
    assert item_keys("k:[]") == ()


@pytest.mark.parametrize("element", ["k:{}", "v:1", "i:0", "f:x"])
def test_a_path_into_something_else_is_missing(element):
    assert repr(child_value("text", element)) == "MISSING"
    assert repr(child_value([], element)) == "MISSING"


def test_odd_desired_and_live_values_match_nothing():
    element = 'k:{"name":"a"}'
    assert desired_child(["text", {"name": "b"}], element) is MISSING
    assert desired_child({"name": "a"}, element) is MISSING
    assert item_order({element: {}, 'k:{"name":"b"}': {}}, "text") == ()


def test_a_part_of_the_object_that_went_away_is_named_at_its_top():
    """Not field by field, and the order of what is gone is not drift of its own."""
    live = copy.deepcopy(WEB["applied"])
    del live["spec"]["template"]["spec"]["containers"][0]["env"]
    found = compare(record(WEB["desired"], WEB["applied"], KEY), live, KEY)
    assert isinstance(found, Drift)
    assert [(c.path, c.kind) for c in found.changes] == [
        ("spec.template.spec.containers[web].env", ChangeKind.REMOVED)
    ]


def test_a_set_from_another_manifest_has_no_presence_only_paths():
    """A field git no longer states is compared by value."""
    assert presence_only({}, {"f:spec": {"f:a": {}}}) == frozenset()


def test_the_newest_owner_of_a_field_is_named():
    own = {"manager": "lockgate", "operation": "Apply", "fieldsV1": {}}
    fields = {"f:spec": {"f:x": {}}}
    entries = [
        {"manager": "new", "time": "2026-01-02T00:00:00Z", "fieldsV1": fields},
        {"manager": "old", "time": "2026-01-01T00:00:00Z", "fieldsV1": fields},
        {"manager": "parent", "time": "2026-01-03T00:00:00Z", "fieldsV1": {"f:spec": {".": {}}}},
        {"manager": "elsewhere", "fieldsV1": {"f:status": {"f:x": {}}}},
    ]
    live = {"metadata": {"managedFields": [own, *entries]}}
    assert who_changed(live, ("f:spec", "f:x")) == "new"
    assert who_changed(live, ("f:spec", "f:y")) == "parent"
    assert who_changed(live, ("f:data",)) == ""


def test_additions_are_the_topmost_fields_without_status_and_last_applied():
    ours = {"f:spec": {"f:a": {}, "f:list": {'k:{"name":"x"}': {"f:name": {}}}}}
    theirs = {
        "f:metadata": {
            "f:annotations": {
                ".": {},
                "f:kubectl.kubernetes.io/last-applied-configuration": {},
                "f:n": {},
            }
        },
        "f:spec": {
            "f:a": {"f:below": {}},
            "f:list": {'k:{"name":"y"}': {".": {}, "f:name": {}, "f:v": {}}},
        },
        "f:status": {"f:x": {}},
    }
    live = {
        "metadata": {
            "managedFields": [
                {"manager": "lockgate", "operation": "Apply", "fieldsV1": ours},
                {"manager": "me", "operation": "Update", "fieldsV1": theirs},
                {
                    "manager": "me",
                    "operation": "Update",
                    "subresource": "scale",
                    "fieldsV1": theirs,
                },
                {"manager": "kubelet", "operation": "Update", "fieldsV1": theirs},
            ]
        }
    }
    (found,) = foreign_fields(live)
    assert found.manager == "me"
    assert found.paths == ("metadata.annotations.n", "spec.list[y]")


def mutated(value):
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [*value, "more"]
    return {**value, "more": 1} if isinstance(value, dict) else f"{value}x"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_digest_changes_if_and_only_if_an_owned_value_changes(data):
    """Every owned leaf of every recorded kind; a change outside the owned set leaves the digest alone."""
    case = data.draw(st.sampled_from(OBJECTS))
    live = copy.deepcopy(case["applied"])
    fields = fields_of(own_entry(live))
    only = presence_only(case["desired"], fields)
    before = digest(live, only, KEY)
    live["metadata"]["resourceVersion"] = "999999"
    live["metadata"]["annotations"]["not-ours"] = "x"
    assert digest(live, only, KEY) == before
    path = data.draw(st.sampled_from([p for p in leaves(fields) if p not in only]))
    parent = live
    for element in path[:-1]:
        parent = child_value(parent, element)
    if path[-1][:2] == "f:":
        parent[path[-1][2:]] = mutated(parent.get(path[-1][2:], ""))
        assert digest(live, only, KEY) != before
