"""The Application custom resource: read field by field, and refused by name where it asks for what we cannot do.

Every field of the contract is either honoured, known to change nothing, or refused. An unknown field is refused too:
a typo in `selfHeal` must not read as consent to its absence. Defaults are Argo CD's, so all automation is off.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta

from agent.api.fields import Node
from agent.core.application import (
    Application,
    ApplicationSource,
    Automated,
    DirectoryOptions,
    OperationRequest,
    Retry,
    SyncPolicy,
)
from agent.core.objects import (
    HOME_NAMESPACE,
    AppIdentity,
    Manifest,
    ObjectKey,
    annotations_of,
    canonical,
)
from agent.errors import InvalidSpecError

IN_CLUSTER_SERVER = "https://kubernetes.default.svc"
IN_CLUSTER_NAME = "in-cluster"
REFRESH = "argocd.argoproj.io/refresh"
SKIP_RECONCILE = "argocd.argoproj.io/skip-reconcile"
DELETION_APPROVED = "argocd.argoproj.io/deletion-approved"

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_UNSUPPORTED_ANNOTATIONS = (
    "argocd.argoproj.io/compare-options",
    "argocd.argoproj.io/hydrate",
    "argocd.argoproj.io/client-side-apply-migration-manager",
)
# Options that ask for what happens anyway.
_NEUTRAL_OPTIONS = frozenset(
    {
        "Validate=true",
        "CreateNamespace=false",
        "ApplyOutOfSyncOnly=true",
        "ApplyOutOfSyncOnly=false",
        "FailOnSharedResource=false",
        "RespectIgnoreDifferences=true",
        "RespectIgnoreDifferences=false",
        "Prune=true",
        "PruneLast=true",  # without waves, prunes are last already
        "PruneLast=false",
        "PrunePropagationPolicy=foreground",
        "Replace=false",
        "Force=false",
        "ServerSideApply=true",
        "SkipDryRunOnMissingResource=true",  # nothing is dry-run
        "Delete=true",
    }
)


def parse_identity(manifest: Manifest) -> AppIdentity:
    """Return which Application a resource is; works for those that `parse_application` refuses."""
    metadata = manifest.get("metadata") or {}
    return AppIdentity(namespace=str(metadata.get("namespace")), name=str(metadata.get("name")))


def parse_application(manifest: Manifest, home_namespace: str = HOME_NAMESPACE) -> Application:
    """Return the Application, or raise `InvalidSpecError` that names the field by its path."""
    root = Node.of(manifest)
    spec = root.require("spec")
    spec.allow(
        "project",
        "destination",
        "source",
        "syncPolicy",
        "info",  # for people
        "revisionHistoryLimit",
        refuse=("sources", "ignoreDifferences", "sourceHydrator"),
    )
    annotations = annotations_of(manifest)
    _refuse_annotations(annotations)
    metadata = manifest["metadata"]
    return Application(
        identity=parse_identity(manifest),
        uid=str(metadata.get("uid") or ""),
        project=_project(spec),
        source=_source(spec.require("source")),
        destination_namespace=_destination(spec.require("destination"), home_namespace),
        sync_policy=_sync_policy(spec.child("syncPolicy")),
        operation=_operation(root.child("operation"), spec),
        refresh=_refresh(annotations),
        skip_reconcile=annotations.get(SKIP_RECONCILE) == "true",
        deletion_approved=annotations.get(DELETION_APPROVED, ""),
        deleting=bool(metadata.get("deletionTimestamp")),
        spec_digest=spec_digest(manifest),
        revision_history_limit=spec.integer("revisionHistoryLimit", 10, least=0),
    )


def spec_digest(manifest: Manifest) -> str:
    """Return what to trigger a reconcile on: without a status subresource each status write raises `generation`."""
    return hashlib.sha256(canonical(manifest.get("spec"))).hexdigest()[:32]


def _project(spec: Node) -> str:
    project = spec.text("project") or "default"
    if project != "default":
        raise InvalidSpecError(
            f"spec.project: {project} is not supported yet", hint="use the project default"
        )
    return project


def _source(source: Node) -> ApplicationSource:
    source.allow(
        "repoURL",
        "path",
        "targetRevision",
        "directory",
        "name",
        refuse=("helm", "kustomize", "plugin", "chart", "ref", "tagPrefix"),
    )
    path = source.text("path") or "."
    if path.startswith("/") or ".." in path.split("/") or "\\" in path or not path.isprintable():
        raise InvalidSpecError(f"{source.path}.path: {path!r} must be a path inside the repository")
    return ApplicationSource(
        repo_url=source.required_text("repoURL"),
        path=path,
        target_revision=source.text("targetRevision") or "HEAD",
        directory=_directory(source.child("directory")),
    )


def _directory(directory: Node | None) -> DirectoryOptions:
    if directory is None:
        return DirectoryOptions()
    jsonnet = directory.value.get("jsonnet")
    # Argo CD's own writers leave an empty `jsonnet: {}` behind.
    directory.allow(
        "recurse", "include", "exclude", *(() if jsonnet else ("jsonnet",)), refuse=("jsonnet",)
    )
    return DirectoryOptions(
        recurse=directory.flag("recurse"),
        include=directory.text("include"),
        exclude=directory.text("exclude"),
    )


def _destination(destination: Node, home_namespace: str) -> str:
    destination.allow("server", "name", "namespace")
    server, name = destination.text("server"), destination.text("name")
    if server and name:
        raise InvalidSpecError("spec.destination: set either server or name, not both")
    if not server and not name:
        raise InvalidSpecError(
            f"spec.destination: server or name is missing; set server: {IN_CLUSTER_SERVER}"
        )
    if server.rstrip("/") not in {"", IN_CLUSTER_SERVER}:
        raise InvalidSpecError(
            f"spec.destination.server: only {IN_CLUSTER_SERVER} is supported: "
            "each cluster runs its own agent"
        )
    if name not in {"", IN_CLUSTER_NAME}:
        raise InvalidSpecError(
            f"spec.destination.name: only {IN_CLUSTER_NAME} is supported: each cluster runs its own agent"
        )
    namespace = destination.text("namespace")
    if namespace and not _DNS_LABEL.fullmatch(namespace):
        raise InvalidSpecError(
            f"spec.destination.namespace: {namespace!r} is not a namespace's name"
        )
    if namespace == home_namespace:
        raise InvalidSpecError(
            f"spec.destination.namespace: {namespace} is the agent's own and no Application may touch it"
        )
    return namespace


def _sync_policy(policy: Node | None) -> SyncPolicy:
    if policy is None:
        return SyncPolicy()
    policy.allow("automated", "syncOptions", "retry", refuse=("managedNamespaceMetadata",))
    options = _sync_options(policy)
    return SyncPolicy(
        automated=_automated(policy.child("automated")),
        create_namespace="CreateNamespace=true" in options,
        retry=_retry(policy.child("retry")),
        prune_disabled="Prune=false" in options,
        fail_on_shared="FailOnSharedResource=true" in options,
    )


def _sync_options(policy: Node) -> frozenset[str]:
    honoured = {"CreateNamespace=true", "Prune=false", "FailOnSharedResource=true"}
    options = policy.texts("syncOptions")
    for index, option in enumerate(options):
        if option not in honoured and option not in _NEUTRAL_OPTIONS:
            raise InvalidSpecError(
                f"{policy.path}.syncOptions[{index}]: {option} is not supported yet"
            )
    return frozenset(options)


def _automated(automated: Node | None) -> Automated | None:
    if automated is None:
        return None
    automated.allow("enabled", "prune", "selfHeal", "allowEmpty")
    parsed = Automated(
        prune=automated.flag("prune"),
        self_heal=automated.flag("selfHeal"),
        allow_empty=automated.flag("allowEmpty"),
    )
    return parsed if automated.flag("enabled", default=True) else None


def _retry(retry: Node | None) -> Retry | None:
    if retry is None:
        return None
    retry.allow("limit", "backoff", refuse=("refresh",) if retry.value.get("refresh") else ())
    backoff = retry.child("backoff") or Node(path=f"{retry.path}.backoff", value={})
    backoff.allow("duration", "factor", "maxDuration")
    return Retry(
        limit=retry.integer("limit", 0, least=-1),
        duration=backoff.duration("duration", timedelta(seconds=5)),
        factor=backoff.integer("factor", 2, least=1),
        max_duration=backoff.duration("maxDuration", timedelta(minutes=3)),
    )


def _operation(operation: Node | None, spec: Node) -> OperationRequest | None:
    """Read a requested sync. Manifests handed in with it are refused always (D35)."""
    if operation is None or not operation.value:
        return None
    operation.allow("initiatedBy", "info", "retry", "sync")
    sync = operation.require("sync")
    sync.allow(
        "revision",
        "prune",
        "dryRun",
        "resources",
        "syncStrategy",
        "syncOptions",
        "autoHealAttemptsCount",
        refuse=("manifests", "source", "sources", "revisions"),
    )
    _check_strategy(sync.child("syncStrategy"))
    _check_same_options(sync, spec.child("syncPolicy"))
    by = operation.child("initiatedBy")
    return OperationRequest(
        revision=sync.text("revision"),
        prune=sync.flag("prune"),
        dry_run=sync.flag("dryRun"),
        resources=_resources(sync),
        retry=_retry(operation.child("retry")),
        initiated_by=by.text("username") if by else "",
        automated=by.flag("automated") if by else False,
    )


def _check_strategy(strategy: Node | None) -> None:
    if strategy is None:
        return
    strategy.allow("apply", "hook")
    for kind in ("apply", "hook"):
        chosen = strategy.child(kind)
        if chosen is not None:
            chosen.allow(refuse=("force",))


def _check_same_options(sync: Node, policy: Node | None) -> None:
    """Let a sync repeat the options of the Application, as its clients do, but not bring its own."""
    own = _sync_options(policy) if policy else frozenset()
    for option in sorted(_sync_options(sync) - own - _NEUTRAL_OPTIONS):
        raise InvalidSpecError(
            f"{sync.path}.syncOptions: {option} is not among spec.syncPolicy.syncOptions, "
            "and options of one sync only are not supported yet"
        )


def _resources(sync: Node) -> frozenset[ObjectKey] | None:
    found = sync.children("resources")
    if not found:
        return None
    for node in found:
        node.allow("group", "kind", "name", "namespace", "exclude")
        if node.flag("exclude"):
            raise InvalidSpecError(f"{node.path}.exclude is not supported yet")
    return frozenset(
        ObjectKey(
            group=node.text("group"),
            kind=node.required_text("kind"),
            namespace=node.text("namespace"),
            name=node.required_text("name"),
        )
        for node in found
    )


def _refresh(annotations: Mapping[str, str]) -> str:
    value = annotations.get(REFRESH, "")
    return "hard" if value == "hard" else "normal" if value else ""


def _refuse_annotations(annotations: Mapping[str, str]) -> None:
    for name in _UNSUPPORTED_ANNOTATIONS:
        if annotations.get(name):
            raise InvalidSpecError(f"metadata.annotations[{name}] is not supported yet")
