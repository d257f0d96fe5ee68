"""From rendered documents to desired objects: everything that must happen before the first comparison.

Server-side apply is literal about what it is sent, and a few perfectly ordinary manifests fight controllers, lose
ownership or rewrite themselves on each apply. What is known of that (design/engine.md 3, 4, 9, 12) is taken out
here, once, so that no later step needs to know a kind.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from agent.core.normalise import normalise
from agent.core.objects import (
    HOME_NAMESPACE,
    LABEL,
    TRACKING,
    AppIdentity,
    DesiredObject,
    ObjectKey,
    RenderedObject,
    group_of,
    key_of,
    manifest_hash,
    tracking_id,
)
from agent.core.ordering import find_unsupported
from agent.errors import RenderError

MAX_LIST_DEPTH = 8
MAX_OBJECTS = 100_000

# (apiVersion, kind) -> namespaced, cluster-scoped, or None where the server does not know the kind yet.
IsNamespaced = Callable[[str, str], bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    objects: tuple[DesiredObject, ...]
    warnings: tuple[str, ...] = ()  # what was changed on the way and why, one sentence each


def prepare(
    rendered: Sequence[RenderedObject],
    app: AppIdentity,
    destination_namespace: str,
    is_namespaced: IsNamespaced,
    home_namespace: str = HOME_NAMESPACE,
) -> Prepared:
    """Return the desired objects of an Application, or raise `RenderError` naming the document.

    Nothing is applied of a set that has one bad object: the caller gets all or an error.
    """
    leaves = [leaf for item in rendered for leaf in flatten(item)]
    if len(leaves) > MAX_OBJECTS:
        raise RenderError(f"{leaves[0].origin}: more than {MAX_OBJECTS} objects")
    scope = _Scope(destination_namespace, _with_own_crds(is_namespaced, leaves))
    objects: dict[ObjectKey, DesiredObject] = {}
    warnings: list[str] = []
    for leaf in leaves:
        desired = _prepare_one(leaf, app, scope, warnings)
        _refuse_home(desired, home_namespace)
        if (other := objects.get(desired.key)) is not None:
            raise RenderError(
                f"{desired.origin}: {desired.key} is also in {other.origin}",
                hint="remove one of the two",
            )
        objects[desired.key] = desired
    _refuse_unsupported(objects.values())
    return Prepared(objects=tuple(objects.values()), warnings=tuple(warnings))


@dataclass(frozen=True, slots=True)
class _Scope:
    destination: str
    is_namespaced: IsNamespaced


def flatten(item: RenderedObject, depth: int = 0) -> Iterator[RenderedObject]:
    """Yield the objects inside `List`s of any kind, recursively but not without bound."""
    manifest = item.manifest
    kind, api_version = manifest.get("kind"), manifest.get("apiVersion")
    if not isinstance(kind, str) or not kind or not isinstance(api_version, str) or not api_version:
        raise RenderError(
            f"{item.origin}: not a Kubernetes object: apiVersion and kind must be non-empty strings"
        )
    if not (kind.endswith("List") and isinstance(manifest.get("items"), list)):
        yield item
        return
    if depth >= MAX_LIST_DEPTH:
        raise RenderError(f"{item.origin}: Lists are nested more than {MAX_LIST_DEPTH} deep")
    for index, child in enumerate(manifest["items"]):
        origin = f"{item.origin} items[{index}]"
        if not isinstance(child, dict):
            raise RenderError(f"{origin}: not an object")
        yield from flatten(RenderedObject(manifest=child, origin=origin), depth + 1)


def _prepare_one(
    leaf: RenderedObject, app: AppIdentity, scope: _Scope, warnings: list[str]
) -> DesiredObject:
    _check_metadata(leaf)
    manifest, notes = normalise(leaf.manifest, leaf.origin)
    metadata = manifest["metadata"]
    if scope.is_namespaced(manifest["apiVersion"], manifest["kind"]) is False:
        metadata.pop("namespace", None)
    elif not metadata.get("namespace"):
        if not scope.destination:
            raise RenderError(
                f"{leaf.origin}: {key_of(manifest)} has no namespace",
                hint="set metadata.namespace or the Application's spec.destination.namespace",
            )
        metadata["namespace"] = scope.destination
    key = key_of(manifest)
    metadata["labels"] = {**metadata.get("labels", {}), LABEL: app.label}
    tracking = tracking_id(app, key, scope.destination)
    metadata["annotations"] = {**metadata.get("annotations", {}), TRACKING: tracking}
    warnings.extend(f"{leaf.origin}: {key}: {note}" for note in notes)
    return DesiredObject(
        key=key,
        api_version=manifest["apiVersion"],
        manifest=manifest,
        origin=leaf.origin,
        hash=manifest_hash(manifest),
    )


def _check_metadata(leaf: RenderedObject) -> None:
    metadata = leaf.manifest.get("metadata")
    if not isinstance(metadata, dict):
        raise RenderError(f"{leaf.origin}: {leaf.manifest['kind']}: metadata must be a mapping")
    name = metadata.get("name")
    if metadata.get("generateName") and not name:
        raise RenderError(
            f"{leaf.origin}: {leaf.manifest['kind']}: metadata.generateName is not supported yet",
            hint="give the object a name",
        )
    if not isinstance(name, str) or not name:
        raise RenderError(
            f"{leaf.origin}: {leaf.manifest['kind']}: metadata.name must be a non-empty string"
        )
    if not isinstance(metadata.get("namespace") or "", str):
        raise RenderError(
            f"{leaf.origin}: {leaf.manifest['kind']} {name}: metadata.namespace must be a string"
        )
    for field in ("labels", "annotations"):
        _check_string_map(leaf, field, metadata.get(field))


def _check_string_map(leaf: RenderedObject, field: str, value: object) -> None:
    if value is None:
        return
    where = f"{leaf.origin}: {leaf.manifest['kind']} {leaf.manifest['metadata']['name']}"
    if not isinstance(value, dict):
        raise RenderError(f"{where}: metadata.{field} must be a mapping")
    for key, item in value.items():
        if item is not None and not isinstance(item, str):
            raise RenderError(
                f"{where}: metadata.{field}[{key}] must be a string, not {item!r}",
                hint="quote the value",
            )


def _refuse_home(desired: DesiredObject, home: str) -> None:
    key = desired.key
    is_home = key.group == "" and key.kind == "Namespace" and key.name == home
    if key.namespace == home or is_home:
        raise RenderError(
            f"{desired.origin}: {key}: namespace {home} is the agent's own and no Application may touch it"
        )


def _refuse_unsupported(objects: Iterable[DesiredObject]) -> None:
    found = [
        f"{desired.origin}: {desired.key}: {sentence}"
        for desired in objects
        for sentence in find_unsupported(desired.manifest)
    ]
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise RenderError("; ".join(found[:3]) + more)


def _with_own_crds(is_namespaced: IsNamespaced, leaves: Sequence[RenderedObject]) -> IsNamespaced:
    """Let the CRDs of the same set answer for kinds that the server does not know yet."""
    scopes: dict[tuple[str, str], bool] = {}
    for leaf in leaves:
        spec = leaf.manifest.get("spec")
        if leaf.manifest["kind"] == "CustomResourceDefinition" and isinstance(spec, dict):
            names = spec.get("names")
            kind = names.get("kind") if isinstance(names, dict) else None
            scopes[str(spec.get("group")), str(kind)] = spec.get("scope") != "Cluster"

    def lookup(api_version: str, kind: str) -> bool | None:
        known = is_namespaced(api_version, kind)
        return scopes.get((group_of(api_version), kind)) if known is None else known

    return lookup
