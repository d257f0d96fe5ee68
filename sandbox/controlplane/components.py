"""The command lines of one control plane, and where its files are."""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sandbox import processes
from sandbox.controlplane import audit
from sandbox.controlplane.binaries import Binaries
from sandbox.controlplane.certificates import Authority, Pair
from sandbox.controlplane.kubeconfig import write_certificate_config
from sandbox.processes import Child, Command

STAGES = Path(__file__).with_name("stages.yaml")
# Who the parts are: the roles Kubernetes ships for them, and a user of our own for the node's stand-in.
USERS = {
    "admin": ("sandbox:admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager",),
    "scheduler": ("system:kube-scheduler",),
    "kwok": ("sandbox:kwok", "system:masters"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Files and ports of one start."""

    root: Path
    port: int
    etcd_port: int
    peer_port: int
    ca_file: Path
    admin: Pair
    serving: Pair
    etcd: Pair
    etcd_client: Pair
    token_key: Path
    audit: bool

    @classmethod
    def prepare(cls, root: Path, *, ports: list[int], audit: bool) -> "Layout":
        """Make keys and kubeconfigs in a clean folder: what an earlier start left is removed."""
        for leftover in ("etcd", "pki", "logs", "kubeconfigs", "kubectl-cache"):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(root / leftover)
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        (root / "logs").mkdir()
        authority = Authority(root / "pki")
        users = {part: authority.user(*names) for part, names in USERS.items()}
        layout = cls(
            root=root,
            port=ports[0],
            etcd_port=ports[1],
            peer_port=ports[2],
            ca_file=authority.ca_file,
            admin=users["admin"],
            serving=authority.server("kube-apiserver"),
            etcd=authority.server("etcd"),
            etcd_client=authority.user("etcd-client"),
            token_key=authority.signing_key("service-accounts"),
            audit=audit,
        )
        for part, pair in users.items():
            write_certificate_config(layout.config(part), layout.server, authority.ca_file, pair)
        return layout

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def audit_log(self) -> Path:
        return self.root / "logs" / "audit.jsonl"

    def config(self, part: str) -> Path:
        return self.root / "kubeconfigs" / f"{part}.yaml"


class Components:
    """Starts the parts, one method each."""

    def __init__(self, binaries: Binaries, layout: Layout) -> None:
        self._binaries = binaries
        self._at = layout

    def etcd(self) -> Child:
        """Holds its data in the instance's folder; fsync would only slow down what is thrown away."""
        at, pair = self._at, self._at.etcd
        client, peer = f"https://127.0.0.1:{at.etcd_port}", f"https://127.0.0.1:{at.peer_port}"
        return self._start(
            "etcd",
            self._binaries.etcd,
            "--name=sandbox",
            f"--data-dir={at.root / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=sandbox={peer}",
            *(f"--{side}cert-file={pair.cert}" for side in ("", "peer-")),
            *(f"--{side}key-file={pair.key}" for side in ("", "peer-")),
            *(f"--{side}trusted-ca-file={at.ca_file}" for side in ("", "peer-")),
            *(f"--{side}client-cert-auth" for side in ("", "peer-")),
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def apiserver(self) -> Child:
        at = self._at
        return self._start(
            "kube-apiserver",
            self._binaries.apiserver,
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={at.port}",
            # A loopback address is no valid endpoint of the `kubernetes` Service, and nobody needs one.
            "--endpoint-reconciler-type=none",
            f"--etcd-servers=https://127.0.0.1:{at.etcd_port}",
            f"--etcd-cafile={at.ca_file}",
            f"--etcd-certfile={at.etcd_client.cert}",
            f"--etcd-keyfile={at.etcd_client.key}",
            f"--tls-cert-file={at.serving.cert}",
            f"--tls-private-key-file={at.serving.key}",
            f"--client-ca-file={at.ca_file}",
            "--authorization-mode=RBAC",
            f"--service-account-key-file={at.token_key}",
            f"--service-account-signing-key-file={at.token_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            *self._audit_flags(),
        )

    def controller_manager(self) -> Child:
        at = self._at
        return self._start(
            "kube-controller-manager",
            self._binaries.controller_manager,
            f"--kubeconfig={at.config('controller-manager')}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={at.token_key}",
            f"--root-ca-file={at.ca_file}",
            "--leader-elect=false",
            "--secure-port=0",
            # On a busy machine the simulated node's heartbeats may be late; its pods are not to be evicted for that.
            "--node-monitor-grace-period=1h",
            *self._client_limits(),
        )

    def scheduler(self) -> Child:
        return self._start(
            "kube-scheduler",
            self._binaries.scheduler,
            f"--kubeconfig={self._at.config('scheduler')}",
            "--leader-elect=false",
            "--secure-port=0",
            *self._client_limits(),
        )

    def kwok(self) -> Child:
        return self._start(
            "kwok",
            self._binaries.kwok,
            f"--kubeconfig={self._at.config('kwok')}",
            "--manage-all-nodes",
            f"--config={STAGES}",
            "--node-ip=10.0.0.1",
            "--node-lease-duration-seconds=120",
        )

    def _client_limits(self) -> tuple[str, ...]:
        """The defaults (20 requests a second) would make a test of many objects wait on the client's own brake."""
        return "--kube-api-qps=500", "--kube-api-burst=1000"

    def _audit_flags(self) -> tuple[str, ...]:
        if not self._at.audit:
            return ()
        policy = self._at.root / "audit-policy.yaml"
        policy.write_text(audit.POLICY)
        self._at.audit_log.touch(mode=0o600)
        return (
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self._at.audit_log}",
            "--audit-log-maxsize=0",
        )

    def _start(self, name: str, program: Path, *flags: str) -> Child:
        env = {
            # Nothing of the person's own set-up reaches the sandbox: no proxy, no ~/.kwok, no ~/.kube.
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._at.root),
            "TMPDIR": str(self._at.root),
        }
        log = self._at.root / "logs" / f"{name}.log"
        return processes.start(
            Command(name=name, argv=[str(program), *flags], log=log, env=env, cwd=self._at.root)
        )
