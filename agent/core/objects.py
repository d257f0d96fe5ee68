"""Kubernetes objects as plain JSON: their identity, and what makes one of them ours.

`Manifest` is the only place where the shape of an object is open. Everything else names the part it needs.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

Manifest = dict[str, Any]

LABEL = "lockgate.dev/instance"
TRACKING = "argocd.argoproj.io/tracking-id"
FIELD_MANAGER = "lockgate"
HOME_NAMESPACE = "lockgate-system"
CONTROL_PLANE_NAMESPACE = "argocd"

# The groups served by the API server itself. `*.k8s.io` alone is no sign: gateway.networking.k8s.io is a CRD.
BUILTIN_GROUPS = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "extensions",
        "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ObjectKey:
    """What names an object in a cluster; `namespace` is empty for cluster-scoped ones.

    The version is left out on purpose: the same object at another version is the same object.
    """

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppIdentity:
    """The Application an object belongs to."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def label(self) -> str:
        return instance_label(self.namespace, self.name)

    @property
    def instance_name(self) -> str:
        """The name Argo CD writes into a tracking id: with the namespace only outside its own."""
        if self.namespace == CONTROL_PLANE_NAMESPACE:
            return self.name
        return f"{self.namespace}_{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedObject:
    """One document as a renderer made it; `origin` is `path:line` or `path#document`."""

    manifest: Manifest
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredObject:
    """One object as it will be sent: normalised, labelled, tracked.

    `hash` is stable over processes and versions of this program that render the same bytes.
    """

    key: ObjectKey
    api_version: str
    manifest: Manifest
    origin: str
    hash: str


def group_of(api_version: str) -> str:
    """Return the API group: `apps` of `apps/v1`, empty for the core group."""
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


def key_of(manifest: Manifest) -> ObjectKey:
    """Return the key of a complete object; the fields may be missing in none but hostile ones."""
    metadata = manifest.get("metadata") or {}
    return ObjectKey(
        group=group_of(str(manifest.get("apiVersion", ""))),
        kind=str(manifest.get("kind", "")),
        namespace=str(metadata.get("namespace") or ""),
        name=str(metadata.get("name") or ""),
    )


def is_builtin(group: str) -> bool:
    """Tell whether the API server itself serves the group, so that its defaults are known ones."""
    return group in BUILTIN_GROUPS


def instance_label(namespace: str, name: str) -> str:
    """Return the value of `LABEL` for an Application: readable, at most 51 characters, collision-free."""
    digest = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()
    return f"{name[:40]}-{digest[:10]}"


def tracking_id(app: AppIdentity, key: ObjectKey, destination_namespace: str) -> str:
    """Return Argo CD's tracking id; a cluster-scoped object carries the destination's namespace."""
    namespace = key.namespace or destination_namespace
    return f"{app.instance_name}:{key.group}/{key.kind}:{namespace}/{key.name}"


def canonical(value: object) -> bytes:
    """Return the one JSON spelling of a value; equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def manifest_hash(manifest: Manifest) -> str:
    return hashlib.sha256(canonical(manifest)).hexdigest()[:32]


def annotations_of(manifest: Manifest) -> dict[str, str]:
    found = (manifest.get("metadata") or {}).get("annotations")
    return found if isinstance(found, dict) else {}
