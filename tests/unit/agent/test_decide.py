"""EQUAL, APPLY or UNSURE from a desired and a live object alone (engine 9)."""

from decimal import Decimal

import pytest

from agent.core.decide import Verdict, decide, parse_quantity

ANNOTATED = {"name": "x", "namespace": "n", "annotations": {"t": "1"}}


def fields_for(value):
    """The set an apply of this value makes, all maps and lists of named items granular."""
    if isinstance(value, dict):
        return {f"f:{key}": fields_for(item) for key, item in value.items() if item != []}
    if isinstance(value, list) and value and isinstance(value[0], dict) and "name" in value[0]:
        return {f'k:{{"name":"{item["name"]}"}}': {".": {}, **fields_for(item)} for item in value}
    return {}


def pair(
    desired: dict, live: dict | None = None, fields: dict | None = None, kind="Thing", api="v1"
):
    wanted = {"apiVersion": api, "kind": kind, "metadata": ANNOTATED, **desired}
    own = {"f:metadata": {"f:annotations": {"f:t": {}}}}
    own |= fields_for(desired) if fields is None else fields
    entry = {"manager": "lockgate", "operation": "Apply", "apiVersion": api, "fieldsV1": own}
    metadata = {**ANNOTATED, "uid": "u", "managedFields": [entry]}
    body = desired if live is None else live
    return wanted, {
        "apiVersion": api,
        "kind": kind,
        **body,
        "metadata": metadata,
        "status": {"x": 1},
    }


def verdict(*args, **kwargs) -> tuple[Verdict, str]:
    found = decide(*pair(*args, **kwargs))
    return found.verdict, found.path


EQUAL = (Verdict.EQUAL, "")


def test_what_git_states_and_we_own_is_equal_whatever_else_is_there():
    assert verdict({"spec": {"a": 1}}, {"spec": {"a": 1.0, "default": 5}}) == EQUAL


def test_an_object_we_never_applied_needs_an_apply():
    desired, live = pair({})
    live["metadata"]["managedFields"] = []
    assert decide(desired, live).verdict is Verdict.APPLY


def test_an_object_applied_at_another_version_needs_an_apply():
    desired, live = pair({})
    live["metadata"]["managedFields"][0]["apiVersion"] = "v1beta1"
    assert decide(desired, live).why == "applied as v1beta1"


def test_a_new_a_removed_and_a_reshaped_field_need_an_apply_that_names_them():
    one, two = {"spec": {"a": 1}}, {"spec": {"a": 1, "b": 2}}
    assert verdict(two, two, fields_for(one)) == (Verdict.APPLY, "spec.b")
    assert verdict(one, two, fields_for(two)) == (Verdict.APPLY, "spec.b")
    assert verdict({"spec": 1}, one, fields_for(one)) == (Verdict.APPLY, "spec")


def test_an_empty_granular_list_needs_no_owner():
    """`env: []` is not in the set (engine 2)."""
    desired = {"spec": {"deep": {"env": []}}, "x": 1}
    assert verdict(desired, {"x": 1}, {"f:x": {}}) == EQUAL
    assert verdict({"spec": {"deep": {}}, "x": 1}, {"x": 1}, {"f:x": {}}) == (Verdict.APPLY, "spec")


def test_list_items_match_by_key_and_a_left_out_protocol_is_tcp():
    tcp, udp = (f'k:{{"port":53,"protocol":"{name}"}}' for name in ("TCP", "UDP"))
    item = {".": {}, "f:port": {}}
    live = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    owned = {"f:ports": {tcp: item, udp: {**item, "f:protocol": {}}}}
    both = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}
    assert verdict(both, live, owned) == EQUAL
    assert verdict({"ports": [{"port": 53}]}, live, owned) == (Verdict.APPLY, "ports[53,UDP]")


def test_two_owned_items_that_match_one_desired_item_need_an_apply():
    a, b = (f'k:{{"name":"x","zone":"{zone}"}}' for zone in "ab")
    live = {"list": [{"name": "x", "zone": "a"}, {"name": "x", "zone": "b"}]}
    owned = {"f:list": {a: {"f:name": {}}, b: {"f:name": {}}}}
    assert verdict({"list": [{"name": "x"}]}, live, owned) == (Verdict.APPLY, "list[x,b]")


def test_the_order_of_owned_items_counts_and_foreign_ones_between_do_not():
    desired = {"env": [{"name": "a"}, {"name": "b"}]}
    foreign = {"env": [{"name": "a"}, {"name": "z"}, {"name": "b"}]}
    assert verdict(desired, foreign, fields_for(desired)) == EQUAL
    assert verdict(desired, {"env": [{"name": "b"}, {"name": "a"}]}) == (Verdict.APPLY, "env")


def test_an_item_that_is_not_ours_needs_an_apply():
    one, two = {"env": [{"name": "a"}]}, {"env": [{"name": "a"}, {"name": "b"}]}
    assert verdict(two, two, fields_for(one)) == (Verdict.APPLY, "env")
    assert verdict(one, two, fields_for(two)) == (Verdict.APPLY, "env[b]")


def test_sets_compare_by_value():
    owned = {"f:finalizers": {'v:"a"': {}, 'v:"b"': {}}}
    live = {"finalizers": ["b", "a", "foreign"]}
    assert verdict({"finalizers": ["a", "b"]}, live, owned) == EQUAL
    assert verdict({"finalizers": ["a"]}, live, owned) == (Verdict.APPLY, "finalizers[b]")
    assert verdict({"finalizers": ["a", "b", "c"]}, live, owned) == (Verdict.APPLY, "finalizers")


@pytest.mark.parametrize("zero", [None, "", 0, False])
def test_a_zero_value_may_be_anything_live(zero):
    assert verdict({"spec": {"a": zero}}, {"spec": {"a": "default"}}) == EQUAL
    assert verdict({"spec": {"a": zero}}, {"spec": {}}) == EQUAL


def test_empty_maps_and_lists_of_built_in_kinds_are_anything_and_of_custom_ones_must_be_there():
    atomic = {"f:spec": {"f:m": {}, "f:l": {}}}
    desired = {"spec": {"m": {}, "l": []}}
    assert verdict(desired, {"spec": {}}, atomic) == EQUAL
    assert verdict(desired, {"spec": {}}, atomic, api="example.io/v1")[0] is Verdict.UNSURE
    assert (
        verdict(desired, {"spec": {"m": {"d": 1}, "l": []}}, atomic, api="example.io/v1") == EQUAL
    )


def test_atomic_values_may_have_gained_defaults_but_no_items():
    atomic = {"f:rules": {}}
    assert verdict({"rules": [{"a": 1}]}, {"rules": [{"a": 1, "scope": "*"}]}, atomic) == EQUAL
    unsure = (Verdict.UNSURE, "rules")
    assert verdict({"rules": [{"a": 1}]}, {"rules": [{"a": 1}, {}]}, atomic) == unsure
    assert verdict({"rules": [{"a": 1}]}, {"rules": [{"a": 2}]}, atomic) == unsure
    assert verdict({"rules": [{"a": {"b": 1}}]}, {"rules": [{"a": 5}]}, atomic) == unsure


@pytest.mark.parametrize(
    ("left", "right"),
    [("1000m", "1"), (0.5, "500m"), ("1024Mi", "1Gi"), ("0.5Gi", "512Mi"), (1000, "1k")],
)
def test_quantities_of_built_in_kinds_compare_exactly(left, right):
    """Only at resource paths; a dotted resource name is one path element."""
    desired, live = ({"limits": {"nvidia.com/gpu": value}} for value in (left, right))
    assert verdict(desired, live) == EQUAL
    assert verdict(desired, live, api="example.io/v1")[0] is Verdict.UNSURE
    assert verdict({"a": left}, {"a": right})[0] is Verdict.UNSURE
    assert verdict({"storage": left}, {"storage": right}) == EQUAL


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000),
        ("1E3", 1000),
        ("2E", Decimal(2) * 10**18),
        ("x", None),
        (True, None),
        (None, None),
        ("NaN", None),
        ("m", None),
    ],
)
def test_quantities_are_read_exactly(text, value):
    assert parse_quantity(text) == (None if value is None else Decimal(value))


def test_secret_data_compares_by_its_bytes():
    desired, live = {"data": {"a": "YWJj\nZGVm"}}, {"data": {"a": "YWJjZGVm"}}
    assert verdict(desired, live, kind="Secret") == EQUAL
    assert verdict(desired, live)[0] is Verdict.UNSURE
    assert verdict({"data": {"a": "%"}}, live, kind="Secret")[0] is Verdict.UNSURE


def test_a_missing_value_is_unsure_and_true_is_not_one():
    assert verdict({"spec": {"a": "x"}}, {"spec": {}}) == (Verdict.UNSURE, "spec.a")
    assert verdict({"spec": {"a": True}}, {"spec": {"a": 1}}) == (Verdict.UNSURE, "spec.a")
