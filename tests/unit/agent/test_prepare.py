"""From rendered documents to desired objects (engine 3, 9, 12; D13, D14; Y12)."""

import base64
import copy

import pytest

from agent.core.images import images_of
from agent.core.normalise import decode_secret_value, normalise
from agent.core.objects import (
    LABEL,
    TRACKING,
    AppIdentity,
    RenderedObject,
    instance_label,
    key_of,
)
from agent.core.ordering import apply_order, find_unsupported, is_prune_disabled, prune_order
from agent.core.prepare import MAX_LIST_DEPTH, MAX_OBJECTS, Prepared, prepare
from agent.errors import RenderError

APP = AppIdentity(namespace="argocd", name="shop")
CLUSTER_KINDS = {"ClusterRole", "ClusterRoleBinding", "Namespace", "CustomResourceDefinition"}


def scope(api_version: str, kind: str) -> bool | None:
    return None if "." in api_version and "example" in api_version else kind not in CLUSTER_KINDS


def obj(kind: str = "ConfigMap", name: str = "x", api: str = "v1", **fields) -> dict:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **fields}


def run(*manifests: dict, namespace: str = "prod") -> Prepared:
    rendered = [
        RenderedObject(manifest=manifest, origin=f"f.yaml:{index}")
        for index, manifest in enumerate(manifests, 1)
    ]
    return prepare(rendered, APP, namespace, scope)


def normal(manifest: dict) -> dict:
    return normalise(manifest, "f.yaml:1")[0]


def test_an_object_gets_namespace_label_and_tracking_id():
    (desired,) = run(obj("Deployment", api="apps/v1")).objects
    metadata = desired.manifest["metadata"]
    assert str(desired.key) == "Deployment prod/x"
    assert metadata["namespace"] == "prod"
    assert metadata["labels"] == {LABEL: instance_label("argocd", "shop")}
    assert metadata["annotations"] == {TRACKING: "shop:apps/Deployment:prod/x"}


def test_a_cluster_scoped_object_has_no_namespace_but_its_tracking_id_names_the_destination():
    manifest = obj("ClusterRole", api="rbac.authorization.k8s.io/v1")
    manifest["metadata"]["namespace"] = "nonsense"
    (desired,) = run(manifest).objects
    assert "namespace" not in desired.manifest["metadata"]
    assert str(desired.key) == "ClusterRole x"
    tracking = desired.manifest["metadata"]["annotations"][TRACKING]
    assert tracking == "shop:rbac.authorization.k8s.io/ClusterRole:prod/x"


def test_the_instance_label_is_short_and_tells_equal_names_apart():
    """D13: 40 characters of the name, a dash, 10 hex digits of namespace/name."""
    long = instance_label("argocd", "a" * 60)
    assert len(long) == 51
    assert long.startswith("a" * 40 + "-")
    assert instance_label("a", "b") != instance_label("b", "b")
    assert AppIdentity(namespace="team", name="shop").instance_name == "team_shop"


def test_the_rendered_documents_are_not_changed():
    """They are cached and shared."""
    manifest = obj("Secret", stringData={"a": "b"})
    before = copy.deepcopy(manifest)
    run(manifest)
    assert manifest == before


def test_equal_documents_have_equal_hashes_and_others_do_not():
    left, right = run(obj(data={"a": "1"})).objects[0], run(obj(data={"a": "1"})).objects[0]
    assert left.hash == right.hash
    assert run(obj(data={"a": "2"})).objects[0].hash != left.hash


def test_lists_are_flattened_recursively_and_an_object_in_them_is_named():
    """Y12: a List in a List hides nothing."""
    inner = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [obj("ClusterRoleBinding", api="rbac.authorization.k8s.io/v1")],
    }
    outer = {"apiVersion": "v1", "kind": "ConfigMapList", "items": [obj(), inner]}
    objects = run(outer).objects
    assert [desired.key.kind for desired in objects] == ["ConfigMap", "ClusterRoleBinding"]
    assert objects[1].origin == "f.yaml:1 items[1] items[0]"


def test_lists_are_flattened_to_a_bound():
    nested = obj()
    for _ in range(MAX_LIST_DEPTH + 1):
        nested = {"apiVersion": "v1", "kind": "List", "items": [nested]}
    with pytest.raises(RenderError, match="nested more than"):
        run(nested)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"kind": "X"}, r"^f.yaml:1: not a Kubernetes object"),
        ({"apiVersion": 1, "kind": "X"}, r"not a Kubernetes object"),
        ({"apiVersion": "v1", "kind": "List", "items": ["x"]}, r"items\[0\]: not an object"),
        ({"apiVersion": "v1", "kind": "X", "metadata": []}, "metadata must be a mapping"),
        ({"apiVersion": "v1", "kind": "X", "metadata": {}}, "metadata.name must be"),
        ({"apiVersion": "v1", "kind": "X", "metadata": {"name": 1}}, "metadata.name must be"),
        (
            {"apiVersion": "v1", "kind": "X", "metadata": {"generateName": "a-"}},
            "generateName is not supported yet",
        ),
        (
            {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "namespace": 1}},
            "metadata.namespace must be",
        ),
        (
            {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "labels": []}},
            "metadata.labels must be a mapping",
        ),
        (
            {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "labels": {"b": True}}},
            r"metadata.labels\[b\] must be a string",
        ),
        (obj("Secret", stringData={"a": 1}), r"stringData\[a\] must be a string"),
        (obj("Secret", stringData=["a"]), "stringData must be a mapping"),
    ],
)
def test_what_is_no_object_is_named_with_its_origin(manifest, message):
    with pytest.raises(RenderError, match=message) as err:
        run(manifest)
    assert err.value.message.startswith("f.yaml:1")


def test_too_many_objects_are_refused():
    many = {"apiVersion": "v1", "kind": "List", "items": [obj()] * (MAX_OBJECTS + 1)}
    with pytest.raises(RenderError, match=r"^f.yaml:1 items\[0\]: more than 100000 objects"):
        run(many)


def test_the_same_object_twice_names_both_places():
    with pytest.raises(RenderError, match=r"f.yaml:2: ConfigMap prod/x is also in f.yaml:1"):
        run(obj(), obj())


def test_a_namespaced_object_needs_a_namespace_from_somewhere():
    with pytest.raises(RenderError, match="has no namespace") as err:
        run(obj(), namespace="")
    assert "spec.destination.namespace" in err.value.hint


def test_the_agents_home_is_out_of_bounds():
    """D14."""
    escaping = obj()
    escaping["metadata"]["namespace"] = "lockgate-system"
    for manifest in (escaping, obj("Namespace", "lockgate-system")):
        with pytest.raises(RenderError, match="the agent's own"):
            run(manifest)


def test_a_crd_of_the_same_set_says_whether_its_kind_is_namespaced():
    def crd(kind: str, crd_scope: str) -> dict:
        spec = {"group": "example.io", "scope": crd_scope, "names": {"kind": kind}}
        return obj("CustomResourceDefinition", kind.lower(), "apiextensions.k8s.io/v1", spec=spec)

    objects = run(
        *(
            crd("Wide", "Cluster"),
            crd("Near", "Namespaced"),
            obj("CustomResourceDefinition", "odd", "apiextensions.k8s.io/v1", spec={"names": 1}),
        ),
        *(
            obj("Wide", api="example.io/v1"),
            obj("Near", api="example.io/v1"),
            obj("Other", api="example.io/v1"),
        ),
    ).objects
    assert [desired.key.namespace for desired in objects] == ["", "", "", "", "prod", "prod"]


def test_string_data_becomes_data():
    """Applied as it is, nobody would own the values (engine 3)."""
    secret = normal(obj("Secret", data={"a": "b2xk", "b": None}, stringData={"a": "new"}))
    assert secret["data"] == {"a": base64.b64encode(b"new").decode(), "b": ""}
    assert "stringData" not in secret
    assert normal(obj("Secret", stringData=None)) == obj("Secret")


@pytest.mark.parametrize(("text", "raw"), [("YWJj\nZGVm", b"abcdef"), ("%%", None), (1, None)])
def test_base64_is_read_with_its_white_space(text, raw):
    assert decode_secret_value(text) == raw


def test_server_fields_status_and_nulls_are_dropped():
    manifest = obj(status={"x": 1}, data={"a": None}, binaryData=None)
    manifest["metadata"] |= {"uid": "u", "creationTimestamp": None, "labels": {"a": None}}
    manifest["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "deployment.kubernetes.io/revision": "3",
    }
    assert normal(manifest) == {
        **obj(data={"a": ""}),
        "metadata": {"name": "x", "labels": {"a": ""}, "annotations": {}},
    }


def test_nulls_of_custom_resources_stay():
    """`nullable` fields may mean something there."""
    manifest = obj("Thing", api="example.io/v1", spec={"a": None})
    assert normal(manifest) == manifest


def test_unallocated_fields_are_dropped():
    """Each real apply would allocate them anew."""
    service = obj("Service", spec={"clusterIP": "", "ports": [{"port": 1, "nodePort": 0}, "x"]})
    assert normal(service)["spec"] == {"ports": [{"port": 1}, "x"]}
    kept = obj("Service", spec={"clusterIP": "None", "ports": [{"port": 1, "nodePort": 30000}]})
    assert normal(kept) == kept
    claim = obj("PersistentVolumeClaim", spec={"volumeName": "", "storageClassName": ""})
    assert normal(claim)["spec"] == {"storageClassName": ""}
    assert normal(obj("Node", spec={"taints": [1]}))["spec"] == {}


def test_rules_of_an_aggregated_cluster_role_are_the_controllers():
    role = obj(
        "ClusterRole",
        api="rbac.authorization.k8s.io/v1",
        aggregationRule={"a": 1},
        rules=[{"verbs": ["get"]}],
    )
    result, notes = normalise(role, "f")
    assert "rules" not in result
    assert "aggregationRule" in notes[0]
    empty, silent = normalise({**role, "rules": []}, "f")
    assert ("rules" in empty, silent) == (False, ())
    plain = obj("ClusterRole", api="rbac.authorization.k8s.io/v1", rules=[{"verbs": ["get"]}])
    assert normal(plain) == plain


@pytest.mark.parametrize(
    ("annotations", "bundle", "kept"),
    [
        ({}, "", False),
        ({}, "Q0E=", True),
        ({"cert-manager.io/inject-ca-from": "a/b"}, "Q0E=", False),
    ],
)
def test_a_ca_bundle_is_left_to_its_injector(annotations, bundle, kept):
    """An apply would wipe the CA (engine 3)."""
    hook = {"name": "h", "clientConfig": {"caBundle": bundle}}
    manifest = obj(
        "ValidatingWebhookConfiguration", api="admissionregistration.k8s.io/v1", webhooks=[hook]
    )
    manifest["metadata"]["annotations"] = annotations
    assert ("caBundle" in normal(manifest)["webhooks"][0]["clientConfig"]) is kept


def test_duplicate_environment_variables_keep_the_last_and_say_so():
    """Common in charts, and server-side apply answers 500 (engine 12)."""
    env = [{"name": "A", "value": "1"}, {"name": "B"}, "odd", {"name": "A", "value": "2"}]
    pod = {
        "spec": {
            "containers": [
                {"name": "c", "env": env},
                {"name": "d", "env": [{"name": "A"}]},
                {"name": "e"},
            ]
        }
    }
    prepared = run(
        obj("CronJob", api="batch/v1", spec={"jobTemplate": {"spec": {"template": pod}}})
    )
    (desired,) = prepared.objects
    template = desired.manifest["spec"]["jobTemplate"]["spec"]["template"]
    assert template["spec"]["containers"][0]["env"] == [
        {"name": "B"},
        "odd",
        {"name": "A", "value": "2"},
    ]
    assert prepared.warnings == (
        "f.yaml:1: CronJob prod/x: environment variable A is set twice; the last one counts",
    )
    assert images_of(desired.manifest) == ()


@pytest.mark.parametrize(
    ("annotations", "part"),
    [
        ({"argocd.argoproj.io/hook": "PreSync"}, "argocd.argoproj.io/hook: PreSync"),
        ({"helm.sh/hook": "pre-install"}, "helm.sh/hook: pre-install"),
        ({"argocd.argoproj.io/sync-wave": "-1"}, "sync-wave: -1"),
        ({"helm.sh/hook-weight": "5"}, "hook-weight: 5"),
        ({"argocd.argoproj.io/sync-options": "Prune=false,Replace=true"}, "Replace=true"),
        ({"argocd.argoproj.io/compare-options": "IgnoreExtraneous"}, "IgnoreExtraneous"),
    ],
)
def test_waves_and_hooks_are_refused_by_the_annotations_name(annotations, part):
    """Never silence: a hook is no plain object."""
    manifest = obj()
    manifest["metadata"]["annotations"] = annotations
    with pytest.raises(RenderError, match="is not supported yet") as err:
        run(manifest)
    assert part in err.value.message


def test_many_unsupported_annotations_are_counted():
    manifests = [obj(name=f"x{i}") for i in range(5)]
    for manifest in manifests:
        manifest["metadata"]["annotations"] = {"argocd.argoproj.io/hook": "Sync"}
    with pytest.raises(RenderError, match=r"\(and 2 more\)"):
        run(*manifests)


def test_annotations_that_change_nothing_are_supported():
    annotations = {
        "argocd.argoproj.io/sync-wave": "0",
        "helm.sh/hook": "crd-install",
        "argocd.argoproj.io/sync-options": "Prune=false, ServerSideApply=true",
    }
    manifest = obj()
    manifest["metadata"]["annotations"] = annotations
    assert find_unsupported(manifest) == ()
    assert is_prune_disabled(annotations)
    assert not is_prune_disabled({})


def test_objects_are_applied_in_the_contracts_order_and_pruned_in_reverse():
    """Namespaces, CRDs, then the kinds, custom ones last; a custom kind named Deployment is custom."""
    kinds = [
        ("Deployment", "example.io/v1"),
        *(("Ingress", "networking.k8s.io/v1"), ("Deployment", "apps/v1"), ("Service", "v1")),
        *(
            ("Secret", "v1"),
            ("CustomResourceDefinition", "apiextensions.k8s.io/v1"),
            ("Namespace", "v1"),
        ),
    ]
    objects = run(*(obj(kind, api=api) for kind, api in kinds)).objects
    ordered = [desired.key for desired in apply_order(objects)]
    assert [key.kind for key in ordered] == [kind for kind, _ in reversed(kinds)]
    assert list(prune_order(ordered)) == ordered[::-1]


def test_images_are_found_in_pods_and_templates():
    spec = {
        "initContainers": [{"image": "a"}],
        "containers": [{"image": "b"}, {"image": "a"}, "x", {}],
    }
    assert images_of(obj("Pod", spec=spec)) == ("a", "b")
    assert images_of(obj("Deployment", api="apps/v1", spec={"template": {"spec": spec}})) == (
        "a",
        "b",
    )
    cron = {"jobTemplate": {"spec": {"template": {"spec": spec}}}}
    assert images_of(obj("CronJob", api="batch/v1", spec=cron)) == ("a", "b")
    assert images_of(obj("Thing", api="example.io/v1", spec=spec)) == ()


def test_a_key_of_something_broken_is_still_a_key():
    assert str(key_of({"metadata": None})) == " "
