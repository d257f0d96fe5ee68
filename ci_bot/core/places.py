"""Where in a parsed document an image is named: the places a bump edits, and the mentions it leaves alone.

Edited: containers, initContainers and ephemeralContainers wherever they stand (plain workloads, CronJobs, List
items, custom resources and values that carry a pod template), Kustomize's `images:`, Helm values as a map
(`registry`, `repository`, `tag`, `digest`), as one string and as flat keys. Left and reported: compose, skaffold,
Tekton and CI files, `status`, `image` fields of custom resources whose meaning nobody declared, and every other
scalar that names the image.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ci_bot.core.documents import Alias, Node, Scalar, Sequence, fields_of
from ci_bot.core.documents import Mapping as MappingNode
from ci_bot.core.images import ImageName, find_name, split_reference

_CONTAINERS = {
    "containers": "container",
    "initContainers": "init_container",
    "ephemeralContainers": "ephemeral_container",
}
_WORKLOADS = frozenset(
    [
        "Pod",
        "PodTemplate",
        "Deployment",
        "ReplicaSet",
        "ReplicationController",
        "StatefulSet",
        "DaemonSet",
        "Job",
    ]
)
_KUSTOMIZE = frozenset({"Kustomization", "Component"})
_COMPOSE_KEYS = frozenset(
    {"version", "name", "services", "networks", "volumes", "configs", "secrets", "include"}
)
_FLAT_SETS = (  # name, registry, tag, digest
    ("image", ("registry", "imageRegistry", "hub"), ("tag", "imageTag"), ("digest", "imageDigest")),
    ("imageRepository", ("imageRegistry",), ("imageTag",), ("imageDigest",)),
)
_MAP_REGISTRY, _MAP_TAG, _MAP_DIGEST = (
    ("registry", "imageRegistry", "hub"),
    ("tag",),
    ("digest", "sha"),
)

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One naming of the image that a bump may edit."""

    kind: str
    whole: Scalar | None = None  # holds name, tag and digest in one string
    tag: Scalar | None = None  # holds the tag alone
    digest: Scalar | None = None  # holds the digest alone
    anchor: Scalar | None = None  # where to point a person when there is neither
    shared: Node | None = None  # the anchored node it lies in, when an alias reaches it too


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """One naming of the image that a bump leaves alone, and why."""

    position: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What the walk knows of where it is."""

    family: str = ""  # compose, ci, skaffold, tekton: read by another tool
    kind: str = ""  # kind of the innermost object with apiVersion and kind
    path: Path = ()
    shared: Node | None = None
    status: bool = False

    def below(self, key: str | int, *, shared: Node | None = None) -> "_Context":
        return _Context(
            family=self.family,
            kind=self.kind,
            path=(*self.path, key),
            shared=shared or self.shared,
            status=self.status or (key == "status" and bool(self.kind)),
        )


@dataclass(slots=True, eq=False)
class Finder:
    """Walks one document; results collect in `places` and `mentions`."""

    image: ImageName
    file: str
    places: list[Place] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    _consumed: set[int] = field(default_factory=set)
    _pattern: re.Pattern[str] | None = None

    def search(self, root: Node) -> None:
        self._walk(root, _Context(family=_family_of_file(self.file)))

    def _walk(self, node: Node, context: _Context) -> None:
        if node.consumers:
            context = _Context(
                family=context.family,
                kind=context.kind,
                path=context.path,
                shared=node,
                status=context.status,
            )
        match node:
            case Scalar():
                self._mention(node, context)
            case Sequence():
                for index, item in enumerate(node.items):
                    target, shared = (
                        (item.target, item.target) if isinstance(item, Alias) else (item, None)
                    )
                    self._walk(target, context.below(index, shared=shared))
            case MappingNode():
                self._mapping(node, context)

    def _mapping(self, node: MappingNode, context: _Context) -> None:
        fields = {key: (value, shared) for key, value, shared in fields_of(node)}
        context = _enter(fields, context)
        place = self._recognise(fields, context)
        if place is not None:
            self.places.append(place)
            used = (place.whole, place.tag, place.digest, place.anchor)
            self._consumed.update(id(scalar) for scalar in used if scalar is not None)
        for key, (value, shared) in fields.items():
            self._walk(value, context.below(key, shared=shared))

    def _recognise(self, fields: "_Fields", context: _Context) -> Place | None:
        if context.family or context.status:
            return None
        parent = context.path[-2] if len(context.path) > 1 else ""
        if isinstance(context.path[-1] if context.path else "", int) and parent in _CONTAINERS:
            return self._string(fields, "image", _container_kind(str(parent), context), context)
        if context.kind in _KUSTOMIZE and parent == "images" and len(context.path) == 2:
            return self._kustomize(fields, context)
        return self._values(fields, context)

    def _string(self, fields: "_Fields", key: str, kind: str, context: _Context) -> Place | None:
        scalar = _scalar(fields, key)
        if scalar is None or not self._is_image(split_reference(scalar.value).name):
            return None
        return Place(kind=kind, whole=scalar, shared=_shared(fields, key, scalar) or context.shared)

    def _kustomize(self, fields: "_Fields", context: _Context) -> Place | None:
        name = _scalar(fields, "newName") or _scalar(fields, "name")
        if name is None or not self._is_image(name.value):
            return None
        return self._split(fields, ("kustomize_images", ("newTag",), ("digest",)), name, context)

    def _values(self, fields: "_Fields", context: _Context) -> Place | None:
        map_keys = ["repository"]
        if context.path and context.path[-1] == "image":
            map_keys.append("name")
        for key in map_keys:
            name = _scalar(fields, key)
            versioned = _first(fields, _MAP_TAG) or _first(fields, _MAP_DIGEST)
            if name is not None and versioned and self._joined(fields, name, _MAP_REGISTRY):
                kind = "helmrelease_values_map" if context.kind else "helm_values_map"
                return self._split(fields, (kind, _MAP_TAG, _MAP_DIGEST), name, context)
        if context.kind or any(isinstance(step, int) for step in context.path):
            return None
        return self._flat(fields, context)

    def _flat(self, fields: "_Fields", context: _Context) -> Place | None:
        for key, registries, tags, digests in _FLAT_SETS:
            name = _scalar(fields, key)
            if name is None:
                continue
            if _first(fields, tags) or _first(fields, digests):
                if self._joined(fields, name, registries):
                    return self._split(fields, ("helm_values_flat", tags, digests), name, context)
            elif key == "image" and (
                place := self._string(fields, key, "helm_values_flat", context)
            ):
                return place
        return None

    def _split(
        self,
        fields: "_Fields",
        shape: tuple[str, tuple[str, ...], tuple[str, ...]],
        name: Scalar,
        context: _Context,
    ) -> Place:
        kind, tags, digests = shape
        shared = context.shared
        found: list[Scalar | None] = []
        for keys in (tags, digests):
            key = _first(fields, keys)
            scalar = _scalar(fields, key) if key else None
            found.append(scalar)
            if key and scalar is not None:
                shared = _shared(fields, key, scalar) or shared
        return Place(kind=kind, tag=found[0], digest=found[1], anchor=name, shared=shared)

    def _joined(self, fields: "_Fields", name: Scalar, registries: tuple[str, ...]) -> bool:
        key = _first(fields, registries)
        registry = _scalar(fields, key) if key else None
        prefix = f"{registry.value.rstrip('/')}/" if registry is not None and registry.value else ""
        return self._is_image(prefix + name.value)

    def _is_image(self, name: str) -> bool:
        return name.endswith(self.image.short.rpartition("/")[2]) and find_name(name) == self.image

    def _mention(self, node: Scalar, context: _Context) -> None:
        if id(node) in self._consumed or self.image.short.rpartition("/")[2] not in node.value:
            return
        if self._pattern is None:
            self._pattern = mention_pattern(self.image)
        if self._pattern.search(node.value):
            self._consumed.add(id(node))
            self.mentions.append(Mention(position=node.start, why=_why(node, context)))


_Fields = Mapping[str, tuple[Node, Node | None]]


def mention_pattern(image: ImageName) -> re.Pattern[str]:
    """Return what finds the image's name inside other text."""
    library = "(?:library/)?" if image.on_hub and "/" not in image.short else ""
    registry = (
        r"(?:(?:index\.|registry-1\.)?docker\.io/)?"
        if image.on_hub
        else re.escape(f"{image.registry}/")
    )
    return re.compile(
        rf"(?<![\w./-]){registry}{library}{re.escape(image.short)}(?![\w/-]|\.\w|:\s)", re.ASCII
    )


def _scalar(fields: _Fields, key: str) -> Scalar | None:
    value = fields[key][0] if key in fields else None
    return value if isinstance(value, Scalar) else None


def _first(fields: _Fields, keys: tuple[str, ...]) -> str:
    return next((key for key in keys if _scalar(fields, key) is not None), "")


def _shared(fields: _Fields, key: str, scalar: Scalar) -> Node | None:
    return scalar if scalar.consumers else fields[key][1]


def _enter(fields: _Fields, context: _Context) -> _Context:
    """Return the context inside a mapping: a new object, or a file that belongs to another tool."""
    kind, version = _scalar(fields, "kind"), _scalar(fields, "apiVersion")
    family, own_kind = context.family, context.kind
    if kind is not None and (version is not None or kind.value in _KUSTOMIZE):
        own_kind = kind.value
    if not context.path and not family:
        family = _family_of_root(fields, version.value if version else "")
        if not own_kind and "images" in fields and "resources" in fields:
            own_kind = "Kustomization"
    if family == context.family and own_kind == context.kind:
        return context
    return _Context(
        family=family,
        kind=own_kind,
        path=context.path,
        shared=context.shared,
        status=context.status,
    )


def _family_of_file(file: str) -> str:
    name = file.rpartition("/")[2]
    if name.startswith(("docker-compose", "compose.")):
        return "compose"
    if name in {".gitlab-ci.yml", ".drone.yml", "azure-pipelines.yml"} or any(
        part in f"/{file}" for part in ("/.github/", "/.circleci/", "/.gitlab/")
    ):
        return "ci"
    return ""


def _family_of_root(fields: _Fields, version: str) -> str:
    if version.startswith("skaffold/"):
        return "skaffold"
    if version.startswith("tekton.dev/"):
        return "tekton"
    services = fields.get("services")
    if services and isinstance(services[0], MappingNode) and not version:
        own = all(key in _COMPOSE_KEYS or key.startswith("x-") for key in fields)
        return "compose" if own else ""
    return "ci" if "jobs" in fields and "on" in fields else ""


def _container_kind(parent: str, context: _Context) -> str:
    name = _CONTAINERS[parent]
    if context.kind in _WORKLOADS:
        return name
    if context.kind == "CronJob":
        return f"cronjob_{name}"
    if "values" in context.path or "valuesObject" in context.path:
        return f"embedded_{name}"
    return f"cr_{name}" if context.kind else f"values_{name}"


_FAMILY_WHY = {
    "compose": "a compose file; Kubernetes does not read it",
    "ci": "a CI configuration; Kubernetes does not read it",
    "skaffold": "a skaffold file; skaffold writes its own tags",
    "tekton": "a Tekton task; a build step is not a deployment",
}


def _why(node: Scalar, context: _Context) -> str:
    if context.family:
        return _FAMILY_WHY[context.family]
    if context.status:
        return "under `status`; it says what was, not what is wanted"
    if node.style in {"|", ">"}:
        return "inside a block scalar; edit it by hand"
    key = next((str(step) for step in reversed(context.path) if isinstance(step, str)), "")
    if key == "image":
        return "an `image` that is not in a known list of containers or values; edit it by hand"
    return f"a mention in `{key[:40]}`; edit it by hand if it is deployed" if key else "a mention"


def iter_mentions(image: ImageName, text: str) -> Iterator[int]:
    """Yield where text that is no YAML names the image."""
    for match in mention_pattern(image).finditer(text):
        yield match.start()
