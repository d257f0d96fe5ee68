"""What `lockgate-agent manifests` prints: all that a cluster needs before an agent can work in it.

The files are those of `deploy/agent`; the wheel carries a copy. Text, not objects, goes out: the comments in them tell
the person who applies them what each right is for.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ConfigError

_PACKAGED = Path(__file__).parent / "manifests_data"
_CHECKOUT = Path(__file__).parent.parent / "deploy" / "agent"
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DEFAULT = "argocd"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestOptions:
    namespaces: tuple[str, ...] = (_DEFAULT,)  # where Applications will be looked for
    admin: bool = False
    argocd_repositories: bool = False
    crds: bool = True  # False: the cluster has Argo CD's already


def render_manifests(options: ManifestOptions | None = None) -> str:
    """Return a stream of YAML documents for `kubectl apply -f -`."""
    options = options or ManifestOptions()
    parts = [_read("namespace.yaml")]
    if options.crds:
        parts += [_read("crds/application.yaml"), _read("crds/appproject.yaml")]
    parts += [_read("crds/inventory.yaml"), _read("agent.yaml")]
    for namespace in options.namespaces:
        parts.append(_for_namespace("applications.yaml", namespace))
        if options.argocd_repositories:
            parts.append(_for_namespace("argocd-repositories.yaml", namespace))
    parts.append(_read("admin.yaml" if options.admin else "direct.yaml"))
    return "---\n".join(parts)


def _for_namespace(name: str, namespace: str) -> str:
    if not _NAMESPACE.fullmatch(namespace):
        raise ConfigError(
            f"--namespace {namespace!r} is not a namespace's name",
            hint="lower-case letters, digits and '-', at most 63 characters",
        )
    # Values only: the comments speak of Argo CD, and so does its annotation prefix.
    return re.sub(rf"(?m)^(  name(?:space)?: ){_DEFAULT}$", rf"\g<1>{namespace}", _read(name))


def _read(name: str) -> str:
    for folder in (_PACKAGED, _CHECKOUT):
        file = folder / name
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise ConfigError(f"the installation is incomplete: {name} is missing")
