"""Build the control plane's programs from their own Go modules (`sandbox/tools`), pinned by `go.sum`."""

import os
import subprocess
from pathlib import Path

from sandbox.controlplane.versions import KUBERNETES, KWOK

TOOLS = Path(__file__).resolve().parent.parent / "tools"
PACKAGES = {
    "etcd": ("kubernetes", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": ("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kube-controller-manager": ("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    "kube-scheduler": ("kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    "kubectl": ("kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    "kwok": ("kwok", "sigs.k8s.io/kwok/cmd/kwok"),
}
MAJOR, MINOR, _ = KUBERNETES.split(".")
# Without these the programs call themselves v0.0.0-master, and kubectl refuses to compare versions.
STAMPS = {
    "kubernetes": (
        f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES} "
        f"-X k8s.io/component-base/version.gitMajor={MAJOR} "
        f"-X k8s.io/component-base/version.gitMinor={MINOR}"
    ),
    "kwok": f"-X sigs.k8s.io/kwok/pkg/consts.Version=v{KWOK}",
}
ERROR_LINES = 12


class BuildError(Exception):
    """The compiler's last words."""


def build(go: str, program: str, target: Path) -> None:
    """Build one program into `target`. Raises BuildError."""
    module, package = PACKAGES[program]
    argv = [go, "build", "-trimpath", "-ldflags", f"-s -w {STAMPS[module]}", "-o", str(target)]
    # Nothing of the person's own Go settings changes what is built; where modules come from stays theirs.
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    done = subprocess.run(
        [*argv, package],
        cwd=TOOLS / module,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError("\n".join(done.stdout.splitlines()[-ERROR_LINES:]))
