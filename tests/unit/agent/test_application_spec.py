"""The Application resource: honoured, neutral or refused by name, never silence (contract)."""

from datetime import timedelta

import pytest
import yaml

from agent.api.application import parse_application, parse_identity, spec_digest
from agent.core.application import Automated, Retry
from agent.core.objects import AppIdentity, ObjectKey
from agent.errors import InvalidSpecError


def app(operation: dict | None = None, annotations: dict | None = None, **spec) -> dict:
    base = {
        "source": {"repoURL": "https://git.example/x.git", "path": "dev"},
        "destination": {"server": "https://kubernetes.default.svc", "namespace": "prod"},
    }
    metadata = {"name": "shop", "namespace": "argocd", "uid": "u", "annotations": annotations or {}}
    manifest = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata}
    return {**manifest, "spec": {**base, **spec}, **({"operation": operation} if operation else {})}


def source(**fields) -> dict:
    return {"source": {"repoURL": "https://git.example/x.git", "path": "dev", **fields}}


def refusal(manifest: dict) -> str:
    with pytest.raises(InvalidSpecError) as err:
        parse_application(manifest)
    return err.value.message


def test_the_seeds_application_means_what_it_says(shared):
    manifest = yaml.safe_load((shared / "seed" / "application.yaml").read_text(encoding="utf-8"))
    parsed = parse_application(manifest)
    assert str(parsed.identity) == "argocd/myapp-argo-application"
    assert (parsed.source.path, parsed.source.target_revision) == ("dev", "HEAD")
    assert parsed.destination_namespace == "myapp"
    assert parsed.sync_policy.automated == Automated(prune=True, self_heal=True)
    assert parsed.sync_policy.create_namespace


def test_all_automation_is_off_by_default():
    parsed = parse_application(app())
    assert (parsed.project, parsed.sync_policy.automated, parsed.operation) == (
        "default",
        None,
        None,
    )
    assert not parsed.sync_policy.create_namespace
    assert (parsed.source.target_revision, parsed.revision_history_limit) == ("HEAD", 10)
    assert (parsed.refresh, parsed.deleting, parsed.skip_reconcile) == ("", False, False)


@pytest.mark.parametrize(
    ("block", "meaning"),
    [
        ({}, Automated()),
        ({"enabled": False, "prune": True}, None),
        ({"enabled": True, "allowEmpty": True}, Automated(allow_empty=True)),
        (None, None),
    ],
)
def test_the_presence_of_automated_turns_it_on_unless_disabled(block, meaning):
    assert parse_application(app(syncPolicy={"automated": block})).sync_policy.automated == meaning


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (source(helm={"values": "x"}), "spec.source.helm is not supported yet"),
        (source(kustomize={"namePrefix": "x"}), "spec.source.kustomize is not supported yet"),
        (source(plugin={"name": "x"}), "spec.source.plugin is not supported yet"),
        (source(chart="x"), "spec.source.chart is not supported yet"),
        (source(ref="x"), "spec.source.ref is not supported yet"),
        (source(tagPrefix="x"), "spec.source.tagPrefix is not supported yet"),
        (
            source(directory={"jsonnet": {"libs": ["x"]}}),
            "spec.source.directory.jsonnet is not supported yet",
        ),
        ({"sources": [{"repoURL": "x"}]}, "spec.sources is not supported yet"),
        ({"ignoreDifferences": [{"kind": "X"}]}, "spec.ignoreDifferences is not supported yet"),
        ({"sourceHydrator": {"drySource": {}}}, "spec.sourceHydrator is not supported yet"),
        (
            {"syncPolicy": {"managedNamespaceMetadata": {"labels": {"a": "b"}}}},
            "spec.syncPolicy.managedNamespaceMetadata is not supported yet",
        ),
        (
            {"syncPolicy": {"syncOptions": ["CreateNamespace=true", "Replace=true"]}},
            "spec.syncPolicy.syncOptions[1]: Replace=true is not supported yet",
        ),
        (
            {"syncPolicy": {"retry": {"refresh": True}}},
            "spec.syncPolicy.retry.refresh is not supported yet",
        ),
        ({"project": "team"}, "spec.project: team is not supported yet"),
        (
            {"syncPolicy": {"automated": {"selfheal": True}}},
            "spec.syncPolicy.automated.selfheal: unknown field",
        ),
        ({"replicas": 1}, "spec.replicas: unknown field"),
        ({"source": None}, "spec.source is missing"),
        ({"source": "x"}, "spec.source must be a mapping"),
        (source(repoURL=""), "spec.source.repoURL is missing"),
        (source(targetRevision=1.0), "spec.source.targetRevision must be a string"),
        (source(path="../.."), "spec.source.path: '../..' must be a path inside the repository"),
        (source(path="/etc"), "spec.source.path: '/etc' must be a path inside the repository"),
        (source(path="a\nb"), "spec.source.path: 'a\\nb' must be a path inside the repository"),
        (
            {"syncPolicy": {"automated": {"prune": "yes"}}},
            "spec.syncPolicy.automated.prune must be true or false",
        ),
        ({"syncPolicy": {"syncOptions": "x"}}, "spec.syncPolicy.syncOptions must be a list"),
        (
            {"syncPolicy": {"syncOptions": [1]}},
            "spec.syncPolicy.syncOptions must be a list of strings",
        ),
        (
            {"revisionHistoryLimit": -1},
            "spec.revisionHistoryLimit must be a whole number of at least 0",
        ),
        (
            {"destination": {"server": "https://elsewhere"}},
            "spec.destination.server: only https://kubernetes.default.svc",
        ),
        ({"destination": {"name": "prod"}}, "spec.destination.name: only in-cluster is supported"),
        (
            {"destination": {"name": "in-cluster", "server": "x"}},
            "spec.destination: set either server or name",
        ),
        ({"destination": {"namespace": "x"}}, "spec.destination: server or name is missing"),
        (
            {"destination": {"name": "in-cluster", "namespace": "A_b"}},
            "spec.destination.namespace: 'A_b' is not",
        ),
        (
            {"destination": {"name": "in-cluster", "namespace": "lockgate-system"}},
            "spec.destination.namespace: lockgate-system is the agent's own",
        ),
        (
            {"syncPolicy": {"retry": {"backoff": {"duration": "soon"}}}},
            "spec.syncPolicy.retry.backoff.duration: 'soon' is not a duration",
        ),
        (
            {"syncPolicy": {"retry": {"backoff": {"duration": "9999999h"}}}},
            "spec.syncPolicy.retry.backoff.duration: longer than a year",
        ),
    ],
)
def test_what_is_wrong_or_not_supported_is_named_by_its_path(spec, message):
    assert refusal(app(**spec)).startswith(message)


def test_an_unknown_field_is_told_what_is_known():
    with pytest.raises(InvalidSpecError) as err:
        parse_application(app(syncPolicy={"automated": {"selfheal": True}}))
    assert err.value.hint == "known here: allowEmpty, enabled, prune, selfHeal"


def test_empty_values_of_unsupported_fields_ask_for_nothing():
    """Argo CD's own writers leave them behind."""
    spec = source(
        directory={"jsonnet": {}, "recurse": True, "include": "*.yaml", "exclude": None},
        helm=None,
        plugin={},
    )
    parsed = parse_application(
        app(ignoreDifferences=[], info=[{"name": "a", "value": "b"}], **spec)
    )
    assert parsed.source.directory.recurse
    assert parsed.source.directory.include == "*.yaml"


def test_the_destination_may_be_named_and_its_namespace_left_out():
    parsed = parse_application(app(destination={"name": "in-cluster"}))
    assert parsed.destination_namespace == ""


def test_options_and_retry_are_read():
    policy = {
        "syncOptions": ["Prune=false", "ServerSideApply=true", "FailOnSharedResource=true"],
        "retry": {"limit": -1, "backoff": {"duration": "1m30s", "factor": 3, "maxDuration": "90"}},
    }
    parsed = parse_application(app(syncPolicy=policy)).sync_policy
    assert (parsed.prune_disabled, parsed.fail_on_shared, parsed.create_namespace) == (
        True,
        True,
        False,
    )
    seconds = timedelta(seconds=90)
    assert parsed.retry == Retry(limit=-1, duration=seconds, factor=3, max_duration=seconds)
    assert parse_application(app(syncPolicy={"retry": {}})).sync_policy.retry == Retry()


def test_annotations_that_ask_something_of_the_agent_are_read():
    read = {
        "argocd.argoproj.io/refresh": "hard",
        "argocd.argoproj.io/skip-reconcile": "true",
        "argocd.argoproj.io/deletion-approved": "2026-11-24T09:00:00Z",
    }
    manifest = app(annotations=read)
    manifest["metadata"]["deletionTimestamp"] = "2026-11-24T09:00:00Z"
    parsed = parse_application(manifest)
    assert (parsed.refresh, parsed.skip_reconcile, parsed.deleting) == ("hard", True, True)
    assert parsed.deletion_approved == "2026-11-24T09:00:00Z"
    assert (
        parse_application(app(annotations={"argocd.argoproj.io/refresh": "yes"})).refresh
        == "normal"
    )
    message = refusal(
        app(annotations={"argocd.argoproj.io/compare-options": "ServerSideDiff=true"})
    )
    assert (
        message == "metadata.annotations[argocd.argoproj.io/compare-options] is not supported yet"
    )


def test_a_manual_sync_is_read():
    operation = {
        "initiatedBy": {"username": "me", "automated": False},
        "retry": {"limit": 2},
        "sync": {
            "revision": "abc",
            "prune": True,
            "dryRun": True,
            "syncOptions": ["CreateNamespace=true", "ServerSideApply=true"],
            "syncStrategy": {"hook": {"force": False}},
            "resources": [
                {"group": "apps", "kind": "Deployment", "name": "x", "namespace": "prod"}
            ],
        },
    }
    parsed = parse_application(
        app(operation, syncPolicy={"syncOptions": ["CreateNamespace=true"]})
    ).operation
    assert parsed is not None
    assert (parsed.revision, parsed.prune, parsed.dry_run, parsed.initiated_by) == (
        "abc",
        True,
        True,
        "me",
    )
    assert parsed.resources == {
        ObjectKey(group="apps", kind="Deployment", namespace="prod", name="x")
    }
    assert parsed.retry == Retry(limit=2)


def test_a_bare_manual_sync_is_of_everything():
    parsed = parse_application(app({"sync": {"resources": None}})).operation
    assert parsed is not None
    assert (parsed.revision, parsed.prune, parsed.resources, parsed.automated) == (
        "",
        False,
        None,
        False,
    )
    assert parse_application({**app(), "operation": {}}).operation is None


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"sync": {"manifests": ["x"]}}, "operation.sync.manifests is not supported yet"),
        ({"sync": {"sources": [{}]}}, "operation.sync.sources is not supported yet"),
        (
            {"sync": {"syncStrategy": {"apply": {"force": True}}}},
            "operation.sync.syncStrategy.apply.force is not supported yet",
        ),
        (
            {"sync": {"syncOptions": ["Prune=false"]}},
            "operation.sync.syncOptions: Prune=false is not among",
        ),
        (
            {"sync": {"resources": [{"kind": "X", "name": "x", "exclude": True}]}},
            "operation.sync.resources[0].exclude is not supported yet",
        ),
        ({"sync": {"resources": [{"kind": "X"}]}}, "operation.sync.resources[0].name is missing"),
        ({"sync": {"resources": ["x"]}}, "operation.sync.resources[0] must be a mapping"),
        ({"initiatedBy": {}}, "operation.sync is missing"),
    ],
)
def test_what_a_manual_sync_may_not_ask_for_is_named(operation, message):
    """D35: manifests handed in with an operation are refused always."""
    assert refusal(app(operation)).startswith(message)


def test_the_trigger_is_a_digest_of_the_spec_alone():
    """D16: status writes raise `generation`."""
    manifest = app()
    changed = {**manifest, "status": {"x": 1}, "operation": {"sync": {}}}
    assert spec_digest(changed) == spec_digest(manifest) == parse_application(manifest).spec_digest
    assert spec_digest(app(project="default")) != spec_digest(manifest)
    assert parse_identity({}) == AppIdentity(namespace="None", name="None")
