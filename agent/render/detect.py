"""Which renderer a directory asks for, by the files in it, as Argo CD detects it."""

from collections.abc import Sequence

from agent.errors import RenderError
from agent.render.port import InputFile

_TOOLS = {
    "Chart.yaml": "Helm",
    "kustomization.yaml": "Kustomize",
    "kustomization.yml": "Kustomize",
    "Kustomization": "Kustomize",
}


def check_supported(files: Sequence[InputFile], app_name: str) -> None:
    """Raise `RenderError` where the directory is not one of plain manifests."""
    overrides = {".argocd-source.yaml", f".argocd-source-{app_name}.yaml"}
    for file in sorted(files, key=lambda item: item.path):
        if tool := _TOOLS.get(file.path):
            raise RenderError(
                f"{file.path}: {tool} is not supported yet",
                hint="commit the rendered manifests, or point spec.source.path at plain YAML",
            )
        if file.path in overrides:
            raise RenderError(f"{file.path}: parameter overrides are not supported yet")
