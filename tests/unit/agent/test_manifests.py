"""What is installed before an agent works in a cluster."""

import pytest
import yaml

from agent.errors import ConfigError
from agent.manifests import ManifestOptions, render_manifests
from tests.conftest import ROOT


def documents(**options) -> list[dict]:
    return list(yaml.safe_load_all(render_manifests(ManifestOptions(**options))))


def rules(**options) -> list[dict]:
    return [
        rule
        for item in documents(**options)
        if "Role" in item["kind"]
        for rule in item.get("rules", ())
    ]


def names(items: list[dict]) -> set[tuple[str, str]]:
    return {(item["kind"], item["metadata"]["name"]) for item in items}


def test_the_default_is_namespaces_definitions_account_and_the_direct_role():
    """Section 2.5: what `lockgate-agent manifests | kubectl apply -f -` makes."""
    assert names(documents()) == {
        ("Namespace", "lockgate-system"),
        ("Namespace", "argocd"),
        ("CustomResourceDefinition", "applications.argoproj.io"),
        ("CustomResourceDefinition", "appprojects.argoproj.io"),
        ("CustomResourceDefinition", "inventories.lockgate.dev"),
        ("ServiceAccount", "lockgate-agent"),
        ("Role", "lockgate-agent"),
        ("RoleBinding", "lockgate-agent"),
        ("ClusterRole", "lockgate-agent-direct"),
        ("ClusterRoleBinding", "lockgate-agent-direct"),
    }


def test_the_direct_role_has_no_secrets_no_rbac_no_definitions_and_no_wildcard():
    """D39: nor any verb on namespaces beyond looking and creating."""
    for rule in rules():
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
        assert not {"secrets", "customresourcedefinitions"} & set(rule["resources"])
        assert not {"rbac.authorization.k8s.io", "apiextensions.k8s.io"} & set(rule["apiGroups"])
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
    (namespaces,) = [rule for rule in rules() if "namespaces" in rule["resources"]]
    assert set(namespaces["verbs"]) == {"get", "list", "watch", "create"}


def test_breadth_is_asked_for_and_says_so():
    """`--admin` replaces the direct role."""
    assert ("ClusterRole", "lockgate-agent-admin") in names(documents(admin=True))
    assert ("ClusterRole", "lockgate-agent-direct") not in names(documents(admin=True))
    assert "every right in the cluster" in render_manifests(ManifestOptions(admin=True))


def test_reading_argo_cds_secrets_is_asked_for():
    """D43: a namespaced Role, and only with the option."""
    granted = [r for r in rules(argocd_repositories=True) if "secrets" in r["resources"]]
    assert [set(rule["verbs"]) for rule in granted] == [{"get", "list", "watch"}]


def test_other_namespaces_are_watched_with_a_role_each():
    """Nothing of `argocd` remains."""
    items = documents(namespaces=("team-a", "team-b"), argocd_repositories=True)
    assert {i["metadata"]["name"] for i in items if i["kind"] == "Namespace"} == {
        "lockgate-system",
        "team-a",
        "team-b",
    }
    places = [i["metadata"].get("namespace") for i in items if i["kind"] == "Role"]
    assert sorted(places) == ["lockgate-system", "team-a", "team-a", "team-b", "team-b"]


def test_a_wrong_namespace_is_refused():
    """The text goes to `kubectl apply`: it must not be able to carry YAML."""
    with pytest.raises(ConfigError, match="--namespace"):
        render_manifests(ManifestOptions(namespaces=("a\nkind: Evil",)))


def test_argo_cds_definitions_can_be_left_alone():
    """D15: a cluster that has them keeps them."""
    found = names(documents(crds=False))
    assert ("CustomResourceDefinition", "applications.argoproj.io") not in found
    assert ("CustomResourceDefinition", "inventories.lockgate.dev") in found


def test_the_application_has_columns_and_short_names_and_no_status_subresource():
    """D15, D16: as Argo CD's."""
    (crd,) = [i for i in documents() if i["metadata"]["name"] == "applications.argoproj.io"]
    (version,) = crd["spec"]["versions"]
    assert "subresources" not in version
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert columns == ["Sync", "Health", "Revision", "Age"]
    assert crd["spec"]["names"]["shortNames"] == ["app", "apps"]


def test_the_kustomize_base_is_what_the_command_prints():
    """Two ways to install, one content."""
    folder = ROOT / "deploy" / "agent"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    base = [
        item
        for name in listed
        for item in yaml.safe_load_all((folder / name).read_text(encoding="utf-8"))
    ]
    order = sorted(base, key=str)
    assert order == sorted(documents(), key=str)
