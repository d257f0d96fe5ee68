"""Take out of a manifest what server-side apply cannot carry, and what would fight a controller.

Each rule is one small function with the experiment behind it in design/engine.md 3, 4, 9 and 12. A copy is
returned: rendered documents are cached and shared.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from agent.core.objects import Manifest, annotations_of, group_of, is_builtin
from agent.errors import RenderError

_SERVER_METADATA = frozenset(
    {
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
    }
)
_FOREIGN_ANNOTATIONS = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",  # a Secret's copy lives in here
        "deployment.kubernetes.io/revision",  # the controller takes it back at once
    }
)
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
_STRING_MAPS = frozenset({"data", "binaryData", "stringData"})
_WEBHOOK_GROUPS = frozenset(
    {"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io"}
)


def normalise(manifest: Manifest, origin: str) -> tuple[Manifest, tuple[str, ...]]:
    """Return the manifest to apply, and a note for each change that a person may wonder about.

    Raises `RenderError` where a Secret's stringData is not text.
    """
    result = _without_server_fields(manifest)
    group, kind = group_of(result["apiVersion"]), result["kind"]
    if not is_builtin(group):
        return result, ()
    result = _without_nulls(result)
    notes: list[str] = []
    if group in _WEBHOOK_GROUPS:
        _drop_ca_bundles(result)
    match (group, kind):
        case ("", "Secret"):
            _fold_string_data(result, origin)
        case ("", "Service"):
            _drop_unallocated(_mapping(result, "spec"))
        case ("", "Node"):
            _mapping(result, "spec").pop("taints", None)
        case ("", "PersistentVolumeClaim"):
            _drop_falsy(_mapping(result, "spec"), "volumeName")
        case ("rbac.authorization.k8s.io", "ClusterRole"):
            notes += _drop_aggregated_rules(result)
        case _:
            pass
    notes += [
        f"environment variable {name} is set twice; the last one counts"
        for name in _dedupe_env(result)
    ]
    return result, tuple(notes)


def _without_server_fields(manifest: Manifest) -> Manifest:
    result = {key: value for key, value in manifest.items() if key != "status"}
    metadata = {
        key: value
        for key, value in manifest["metadata"].items()
        if key not in _SERVER_METADATA and value is not None
    }
    for field in ("labels", "annotations"):
        if field in metadata:
            metadata[field] = {
                key: "" if value is None else value
                for key, value in metadata[field].items()
                if key not in _FOREIGN_ANNOTATIONS
            }
    return {**result, "metadata": metadata}


def _without_nulls(value: Any) -> Any:
    """Copy deeply without nulls: for built-in kinds null means absent, but would be owned.

    In a map of strings it means the empty string instead, as the API server decodes it.
    """
    if isinstance(value, dict):
        return {
            key: _blank_nulls(item)
            if key in _STRING_MAPS and isinstance(item, dict)
            else _without_nulls(item)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _blank_nulls(strings: dict[str, Any]) -> dict[str, Any]:
    return {key: "" if value is None else value for key, value in strings.items()}


def _mapping(parent: dict[str, Any], field: str) -> dict[str, Any]:
    """Return a child mapping, or an unattached empty one where the manifest has something else."""
    found = parent.get(field)
    return found if isinstance(found, dict) else {}


def _mappings(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _drop_falsy(parent: dict[str, Any], field: str) -> None:
    if field in parent and not parent[field]:
        del parent[field]


def _fold_string_data(secret: Manifest, origin: str) -> None:
    """Move stringData into data: applied as it is, nobody would own the values (engine 3)."""
    strings = secret.pop("stringData", None)
    if not strings:
        return
    data = dict(_mapping(secret, "data"))
    if not isinstance(strings, dict):
        raise RenderError(f"{origin}: Secret stringData must be a mapping")
    for key, text in strings.items():
        if not isinstance(text, str):
            raise RenderError(
                f"{origin}: Secret stringData[{key}] must be a string", hint="quote the value"
            )
        data[key] = base64.b64encode(text.encode()).decode()
    secret["data"] = data


def decode_secret_value(text: object) -> bytes | None:
    """Return the bytes of one value of a Secret's data, None where it is not base64."""
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _drop_unallocated(spec: dict[str, Any]) -> None:
    """Drop zero values of allocated fields: each real apply would allocate anew."""
    for field in ("clusterIP", "clusterIPs", "healthCheckNodePort"):
        _drop_falsy(spec, field)
    for port in _mappings(spec.get("ports")):
        _drop_falsy(port, "nodePort")


def _drop_aggregated_rules(role: Manifest) -> list[str]:
    if role.get("aggregationRule") and "rules" in role:
        return (
            ["rules dropped: the controller fills them in from aggregationRule"]
            if role.pop("rules")
            else []
        )
    return []


def _drop_ca_bundles(manifest: Manifest) -> None:
    """Drop a caBundle that is empty or that an injector owns: an apply would wipe the CA."""
    injected = any("inject" in key and "ca" in key for key in annotations_of(manifest))
    spec = _mapping(manifest, "spec")
    conversion = _mapping(_mapping(spec, "conversion"), "webhook")
    owners = [spec, _mapping(conversion, "clientConfig")]
    owners += [_mapping(hook, "clientConfig") for hook in _mappings(manifest.get("webhooks"))]
    for owner in owners:
        if injected:
            owner.pop("caBundle", None)
        else:
            _drop_falsy(owner, "caBundle")


def _dedupe_env(value: Any) -> list[str]:
    """Keep the last of env entries with one name, in place; return the names."""
    dropped: list[str] = []
    if isinstance(value, list):
        for item in value:
            dropped += _dedupe_env(item)
    if isinstance(value, dict):
        for field in _CONTAINER_LISTS:
            for container in _mappings(value.get(field)):
                dropped += _dedupe_container(container)
        for item in value.values():
            dropped += _dedupe_env(item)
    return dropped


def _dedupe_container(container: dict[str, Any]) -> list[str]:
    env = container.get("env")
    if not isinstance(env, list):
        return []
    names = [item.get("name") if isinstance(item, dict) else None for item in env]
    last = {name: index for index, name in enumerate(names) if isinstance(name, str)}
    keep = [i for i, name in enumerate(names) if not isinstance(name, str) or last[name] == i]
    if len(keep) == len(env):
        return []
    container["env"] = [env[index] for index in keep]
    return sorted({name for i, name in enumerate(names) if isinstance(name, str) and i not in keep})
