"""docs/tutorial.md, word for word: every command is run in one shell, every click is made through the forge's API."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from gitlab import Gitlab

from sandbox.controlplane.binaries import BinariesUnavailable, ensure_binaries
from sandbox.demo_screen import NotYet
from sandbox.settings import PROJECT
from tests.conftest import ROOT
from tests.eventually import eventually

pytestmark = pytest.mark.cluster
TUTORIAL = ROOT / "docs" / "tutorial.md"
PARTS = re.compile(r"```sh\n(?P<script>.*?)```|<!-- person: (?P<person>.*?) -->", re.DOTALL)
PROMPT = "---done---"


class Shell:
    """One bash that keeps its variables from block to block."""

    def __init__(self, home: Path) -> None:
        environment = {**os.environ, "XDG_STATE_HOME": str(home)}
        self.process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, script: str) -> str:
        """Run a block; each of its lines must succeed. Returns what it printed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        lines = "".join(f"{line} || echo FAILED: $?\n" for line in script.strip().splitlines())
        self.process.stdin.write(f"{lines}echo {PROMPT}\n")
        self.process.stdin.flush()
        said = ""
        while not said.endswith(f"{PROMPT}\n"):
            line = self.process.stdout.readline()
            assert line, f"the shell ended: {said}"
            said += line
        assert "FAILED:" not in said, f"{script}\n{said}"
        return said.removesuffix(f"{PROMPT}\n")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class People:
    """Whoever clicks on the pages, through the API."""

    def __init__(self, data: Path) -> None:
        facts = json.loads((data / "forge" / "forge.json").read_text(encoding="utf-8"))
        self.projects = {
            name: Gitlab(
                facts["url"], private_token=facts["tokens"][name], ssl_verify=facts["ca_file"]
            ).projects.get(PROJECT)
            for name in ("junior", "senior")
        }

    def act(self, sentence: str) -> None:
        who, verb, number = sentence.split()
        project = self.projects[who]
        match verb:
            case "approves":
                project.mergerequests.get(int(number)).approve()
            case "merges":
                eventually(lambda: self._merge(who, int(number)))
            case "reverts":
                self._revert(who, int(number))
            case _:
                raise AssertionError(sentence)

    def _merge(self, who: str, number: int) -> None:
        merge_request = self.projects[who].mergerequests.get(number)
        if merge_request.state == "merged":
            return
        if merge_request.detailed_merge_status not in {"mergeable", "not_approved"}:
            raise NotYet(merge_request.detailed_merge_status)
        merge_request.merge(sha=merge_request.sha)

    def _revert(self, who: str, number: int) -> None:
        project = self.projects[who]
        merged = project.mergerequests.get(number)
        branch = f"revert-{number}"
        project.branches.create({"branch": branch, "ref": merged.target_branch})
        project.commits.get(merged.merge_commit_sha).revert(branch=branch)
        project.mergerequests.create(
            {
                "source_branch": branch,
                "target_branch": merged.target_branch,
                "title": f'Revert "{merged.title}"',
            }
        )


def test_the_tutorial_does_what_it_says(tmp_path: Path):
    """A newcomer copies each block; none of them fails, and each shows what the text promises."""
    try:
        ensure_binaries()
    except BinariesUnavailable as missing:
        pytest.skip(f"no Kubernetes binaries: {missing}")
    shell, people, said = Shell(tmp_path), None, []
    try:
        for part in PARTS.finditer(TUTORIAL.read_text(encoding="utf-8")):
            if part["script"]:
                said.append(shell.run(part["script"]))
                continue
            people = people or People(tmp_path / "lockgate" / "playground" / "data")
            for sentence in part["person"].split(";"):
                people.act(sentence.strip())
    finally:
        shell.close()
        _stop_playground(tmp_path)
    _check(said)


def _check(said: list[str]) -> None:
    pods, bump, gate, live, drift = said[1], said[2], said[3], said[4], said[5]
    assert pods.count("Running") == 2
    assert "merge_requests/1" in bump
    assert "exit code 3" in gate
    assert "is live as" in live
    assert "argocd-app:1.2 nanajanashia/argocd-app:1.2" in live
    assert drift.strip().endswith("2")
    broken = said[7]
    assert "exit code 1" in broken
    assert "failed" in broken


def _stop_playground(home: Path) -> None:
    subprocess.run(
        [ROOT / ".venv" / "bin" / "python", "-m", "sandbox", "down"],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(home)},
        check=False,
        capture_output=True,
        timeout=60,
    )
