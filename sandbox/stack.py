"""The four parts together: control plane, forge, hub, agent; each a process as users start it, all on loopback.

Everything lives below one folder. The agent runs with the ServiceAccount and the rights it ships, never as admin; the
hub holds nothing of the cluster; each part has its own token on the forge and no more rights than it needs.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from gitlab import Gitlab

from sandbox import settings
from sandbox.controlplane.plane import ControlPlane
from sandbox.processes import (
    Child,
    Command,
    SandboxError,
    start,
    stop_all,
    wait_until,
)
from sandbox.settings import CLUSTER, PROJECT, Addresses, Secrets

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "seed"
START_DEADLINE_S = 60.0
ATTEMPTS = 3
PORT_TAKEN = re.compile(r"address already in use|errno 98", re.IGNORECASE)
ORDER = ("forge", "hub", "agent")
CI_VARIABLES = ("LOCKGATE_TOKEN", "LOCKGATE_FORGE_URL", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What may differ between the demo, the playground and a test."""

    files: Path = EXAMPLES / "config-repo"  # the config repo's first commit
    audit: bool = False
    poll: str = "3m"
    hub_poll_s: int = 300
    agent_environment: Mapping[str, str] = field(default_factory=dict)
    hub_environment: Mapping[str, str] = field(default_factory=dict)


class Stack:
    """The running parts; a context manager. `start_part`, `stop_part` and `kill_part` act on one of ORDER."""

    def __init__(
        self, root: Path, options: StackOptions | None = None, *, plane: ControlPlane | None = None
    ) -> None:
        """`plane`: a control plane that runs already and stays; else one is started and stopped with the rest."""
        self.root = root.resolve()
        self.options = options or StackOptions()
        self._own_plane = plane is None
        self.plane = plane or ControlPlane(self.root / "controlplane", audit=self.options.audit)
        self.children: dict[str, Child] = {}
        self.secrets = Secrets.make()
        self.addresses = Addresses.choose()
        self.logs = self.root / "logs"

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start all parts and wait until each is ready. Raises SandboxError."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.logs.mkdir(exist_ok=True)
        pool = ThreadPoolExecutor(max_workers=1)
        plane = pool.submit(self._start_plane)
        try:
            self._start_parts(plane)
        except BaseException:
            wait([plane])
            self.stop()
            raise
        finally:
            pool.shutdown()
        return self

    def _start_parts(self, plane: Future[None]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._start_parts_once(plane)
            except SandboxError as error:
                # Somebody took one of our ports between choice and use: all addresses are chosen anew.
                if attempt == ATTEMPTS or not PORT_TAKEN.search(str(error)):
                    raise
                self._stop_parts()
                shutil.rmtree(self.root / "forge", ignore_errors=True)
                self.addresses = Addresses.choose()
        return None

    def _start_parts_once(self, plane: Future[None]) -> None:
        self.start_part("forge")
        plane.result()
        self._install_agent()
        self.start_part("hub")
        self.start_part("agent")

    def _start_plane(self) -> None:
        if self._own_plane:
            self.plane.start()

    def stop(self) -> None:
        """End all parts, the agent first."""
        self._stop_parts()
        if self._own_plane:
            self.plane.stop()

    def _stop_parts(self) -> None:
        stop_all([self.children[name] for name in reversed(ORDER) if name in self.children], 5)
        self.children.clear()

    def __enter__(self) -> Self:
        return self if self.children else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # -- one part ---------------------------------------------------------------------------------------------------

    def start_part(self, name: str) -> Child:
        """Start one part and wait until it is ready."""
        command = {"forge": self._forge, "hub": self._hub, "agent": self._agent}[name]()
        child = start(command)
        self.children[name] = child
        wait_until(
            "being ready",
            lambda: self._ready(name),
            children=[child],
            deadline_s=START_DEADLINE_S,
        )
        return child

    def stop_part(self, name: str) -> None:
        self.children.pop(name).stop()

    def kill_part(self, name: str) -> None:
        """As a crash would: KILL, at once."""
        self.children.pop(name).kill()

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _ready(self, name: str) -> bool:
        at = self.addresses
        match name:
            case "forge":
                return (self.root / "forge" / "forge.json").exists()
            case "hub":
                return _listens(at.hub_web) and _listens(at.hub_grpc)
            case _:
                return "following applications" in self.log(name).read_text(errors="replace")

    def _command(
        self, name: str, argv: list[str], more: Mapping[str, str] | None = None
    ) -> Command:
        environment = {**self._environment(), **(more or {})}
        return Command(name=name, argv=argv, log=self.log(name), env=environment, cwd=self.root)

    def _environment(self) -> dict[str, str]:
        """Nothing of the person's own forge, proxy and CI settings; temporary files end with the stack."""
        temporary = self.root / "tmp"
        temporary.mkdir(exist_ok=True)
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "TERM", "COVERAGE_PROCESS_START")
        found = {name: os.environ[name] for name in kept if name in os.environ}
        return found | {"TMPDIR": str(temporary)}

    def _forge(self) -> Command:
        at, seed = self.addresses, self.root / "seed.json"
        settings.write_private(
            seed, settings.forge_seed(self.addresses, self.secrets, self.options.files.resolve())
        )
        argv = [sys.executable, "-m", "sandbox.forge", "--root", str(self.root / "forge")]
        ports = ["--port", str(at.forge), "--pages-port", str(at.pages)]
        # The forge is not installed with the product: it runs from the checkout.
        path = {"PYTHONPATH": str(ROOT)}
        return self._command("forge", [*argv, *ports, "--seed", str(seed)], path)

    def _hub(self) -> Command:
        config = self.root / "hub.toml"
        poll = self.options.hub_poll_s
        text = settings.hub_config(self.root, self.addresses, self.secrets, self.ca_file, poll)
        settings.write_private(config, text)
        argv = [script("lockgate"), "serve", "--config", str(config), "--insecure-loopback"]
        return self._command("hub", argv, self.options.hub_environment)

    def _agent(self) -> Command:
        kubeconfig = self.plane.service_account_kubeconfig("lockgate-system", "lockgate-agent")
        credential = self.root / "agent-git-credential"
        settings.write_private(credential, settings.git_credential(self.addresses, self.secrets))
        argv = [
            script("lockgate-agent"),
            "run",
            f"--cluster={CLUSTER}",
            f"--hub=127.0.0.1:{self.addresses.hub_grpc}",
            "--insecure-loopback",
            f"--kubeconfig={kubeconfig}",
            f"--git-credential={credential}",
            f"--ca-file={self.ca_file}",
            f"--poll={self.options.poll}",
            f"--cache-dir={self.root / 'agent-cache'}",
            f"--metrics-listen=127.0.0.1:{self.addresses.agent_metrics}",
        ]
        return self._command("agent", argv, self.options.agent_environment)

    def _install_agent(self) -> None:
        """As the README says: `lockgate-agent manifests | kubectl apply -f -`."""
        made = subprocess.run(
            [script("lockgate-agent"), "manifests"], capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise SandboxError(f"lockgate-agent manifests: {made.stderr}")
        self.plane.kubectl("apply", "-f", "-", input=made.stdout)

    # -- talking to it ----------------------------------------------------------------------------------------------

    @property
    def ca_file(self) -> Path:
        """The CA of the forge's certificate."""
        return self.root / "forge" / "ca" / "ca.pem"

    def client(self, username: str) -> Gitlab:
        """The forge's API as one of settings.USERS, through the unpatched python-gitlab."""
        return Gitlab(
            self.addresses.forge_url,
            private_token=self.secrets.tokens[username],
            ssl_verify=str(self.ca_file),
            timeout=15,
        )

    def ci_environment(self) -> dict[str, str]:
        """What a CI job that runs `lockgate` has in its environment."""
        return {
            **self._environment(),
            "LOCKGATE_TOKEN": self.secrets.tokens["lockgate-bot"],
            "LOCKGATE_FORGE_URL": self.addresses.forge_url,
            "SSL_CERT_FILE": str(self.ca_file),
        }

    def lockgate(self, *arguments: str) -> str:
        """Run the bot as a CI job does; return its output. Raises SandboxError with what it said."""
        done = subprocess.run(
            [script("lockgate"), *arguments],
            env=self.ci_environment(),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            said = f"{done.stdout}{done.stderr}".strip()
            raise SandboxError(f"lockgate {arguments[0]} ended with {done.returncode}: {said}")
        return done.stdout

    def application_manifest(self) -> str:
        """The seed's Application with only `repoURL` changed."""
        text = (EXAMPLES / "application.yaml").read_text()
        return re.sub(r"(?m)^(\s*repoURL: ).*$", rf"\g<1>{self.addresses.repository}", text)

    def facts(self) -> dict[str, str]:
        """What a person needs to know of a running stack. Tokens stay in their files."""
        shell = self.root / "shell.env"
        settings.write_private(shell, settings.shell_environment(self._person_environment()))
        application = self.root / "application.yaml"
        application.write_text(self.application_manifest())
        return {
            "pages": f"{self.addresses.pages_url}/{PROJECT}",
            "git": self.addresses.repository,
            "shell": f". {shell}    # kubectl and lockgate then act on this playground",
            "try": f"kubectl apply -f {application}",
            "then": f"lockgate bump --project {PROJECT} --image nanajanashia/argocd-app --tag 1.2 --env dev",
            "tokens": str(self.root / "forge" / "forge.json"),
            "logs": f"{self.logs} and {self.plane.root / 'logs'}",
        }

    def _person_environment(self) -> dict[str, str]:
        tools = [self.plane.binaries.kubectl.parent, Path(sys.executable).parent]
        return {
            "PATH": os.pathsep.join([*map(str, tools), os.environ.get("PATH", os.defpath)]),
            "KUBECONFIG": str(self.plane.kubeconfig),
            **{k: v for k, v in self.ci_environment().items() if k in CI_VARIABLES},
        }


def script(name: str) -> str:
    """A console script as installed beside the running interpreter."""
    found = Path(sys.executable).parent / name
    if not found.exists():
        raise SandboxError(f"{found} is missing; run: make venv")
    return str(found)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
