"""Which container images an object runs."""

from collections.abc import Iterator
from typing import Any

from agent.core.objects import Manifest, group_of, is_builtin

_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def images_of(manifest: Manifest) -> tuple[str, ...]:
    """Return the images of a pod or of anything with a pod template, in order, each once."""
    if not is_builtin(group_of(str(manifest.get("apiVersion", "")))):
        return ()
    return tuple(dict.fromkeys(_images(manifest.get("spec"))))


def _images(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for field in _CONTAINER_LISTS:
        containers = value.get(field)
        for container in containers if isinstance(containers, list) else []:
            image = container.get("image") if isinstance(container, dict) else None
            if isinstance(image, str) and image:
                yield image
    for field in ("template", "jobTemplate", "spec"):
        yield from _images(value.get(field))
