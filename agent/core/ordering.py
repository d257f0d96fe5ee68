"""In which order objects are applied and pruned, and which ordering wishes are not supported yet.

The order is the contract's: what others need comes first (namespaces, then CRDs), custom resources last. Pruning
goes the other way round.
"""

from collections.abc import Iterable

from agent.core.objects import (
    DesiredObject,
    Manifest,
    ObjectKey,
    annotations_of,
    is_builtin,
)

_KINDS = (
    "Namespace",
    "CustomResourceDefinition",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
)
_RANK = {kind: rank for rank, kind in enumerate(_KINDS)}
_OTHER = len(_KINDS)

_HOOK = "argocd.argoproj.io/hook"
_HELM_HOOK = "helm.sh/hook"
_WAVES = ("argocd.argoproj.io/sync-wave", "helm.sh/hook-weight")
_SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
_COMPARE_OPTIONS = "argocd.argoproj.io/compare-options"
# What these ask for is what happens anyway: we always apply on the server's side, and never dry-run first.
_SUPPORTED_OPTIONS = frozenset(
    {
        "prune=true",
        "prune=false",
        "serversideapply=true",
        "skipdryrunonmissingresource=true",
        "validate=true",
        "replace=false",
        "force=false",
        "delete=true",
        "prunelast=false",
    }
)


def rank(key: ObjectKey) -> tuple[int, str, str, str, str]:
    """Return the sort key of the apply order; custom kinds named like built-in ones sort last."""
    known = _RANK.get(key.kind, _OTHER) if is_builtin(key.group) else _OTHER
    return known, key.kind, key.group, key.namespace, key.name


def apply_order(objects: Iterable[DesiredObject]) -> tuple[DesiredObject, ...]:
    return tuple(sorted(objects, key=lambda desired: rank(desired.key)))


def prune_order(keys: Iterable[ObjectKey]) -> tuple[ObjectKey, ...]:
    return tuple(sorted(keys, key=rank, reverse=True))


def find_unsupported(manifest: Manifest) -> tuple[str, ...]:
    """Return one sentence for each annotation that asks for what this agent cannot do yet.

    An object that carries one must not be applied as if the annotation were not there: a hook is no plain object.
    """
    annotations = annotations_of(manifest)
    sentences = [
        f"annotation {name}: {annotations[name]} is not supported yet"
        for name in (_HOOK, _HELM_HOOK)
        if _is_hook(name, annotations.get(name, ""))
    ]
    sentences += [
        f"annotation {name}: {annotations[name]} is not supported yet"
        for name in _WAVES
        if annotations.get(name, "0").strip() not in {"0", "-0", "+0", ""}
    ]
    sentences += [
        f"annotation {_SYNC_OPTIONS}: {option} is not supported yet"
        for option in _options(annotations.get(_SYNC_OPTIONS, ""))
        if option.lower() not in _SUPPORTED_OPTIONS
    ]
    if annotations.get(_COMPARE_OPTIONS):
        sentences.append(
            f"annotation {_COMPARE_OPTIONS}: {annotations[_COMPARE_OPTIONS]} is not supported yet"
        )
    return tuple(sentences)


def is_prune_disabled(annotations: dict[str, str]) -> bool:
    """Tell whether the object itself asks never to be pruned (`Prune=false`)."""
    options = _options(annotations.get(_SYNC_OPTIONS, ""))
    return any(option.lower() == "prune=false" for option in options)


def _is_hook(name: str, value: str) -> bool:
    return bool(value) and not (name == _HELM_HOOK and value == "crd-install")


def _options(value: str) -> list[str]:
    return [option.strip() for option in value.split(",") if option.strip()]
