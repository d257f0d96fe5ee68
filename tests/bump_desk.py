"""Run `lockgate` as a CI job does, against the sandbox forge."""

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any

from sandbox.forge import SandboxForge
from sandbox.stack import script

IMAGE = "nanajanashia/argocd-app"
BRANCH = "lockgate/dev/nanajanashia-argocd-app"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The JSON on stdout."""
        answer: dict[str, Any] = json.loads(self.out)
        return answer


class BumpDesk:
    """One CI job's view of one forge."""

    def __init__(self, forge: SandboxForge) -> None:
        self.forge = forge

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "LOCKGATE_TOKEN": self.forge.token("lockgate-bot"),
            "LOCKGATE_FORGE_URL": self.forge.url,
            "SSL_CERT_FILE": str(self.forge.ca_file),
            **more,
        }

    def argv(self, tag: str, *more: str) -> list[str]:
        where = () if "--env" in more or "--path" in more else ("--env", "dev")
        return [
            script("lockgate"), "bump", "--project", self.forge.project_path, "--image", IMAGE,
            "--tag", tag, "--output", "json", *where, *more,
        ]  # fmt: skip

    def bump(self, tag: str, *more: str, **environment: str) -> Done:
        return self.run(self.argv(tag, *more), **environment)

    def run(self, argv: list[str], **environment: str) -> Done:
        done = subprocess.run(
            argv,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def git(self, *arguments: str) -> str:
        """Look into the forge's bare repository."""
        argv = ["git", "-C", str(self.forge.repository_dir()), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    def branches(self) -> list[str]:
        return sorted(self.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split())

    def open_ones(self) -> list[int]:
        instance = self.forge.instance
        project = instance.find_project(self.forge.project_path)
        return [m.iid for m in instance.merge_requests(project) if m.state == "opened"]

    def merge(self, number: int) -> None:
        self.forge.as_user("senior").merge(number)
