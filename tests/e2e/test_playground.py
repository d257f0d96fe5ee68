"""`python -m sandbox up | status | down`: the four parts for anybody's own config repo, from a shell."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.controlplane.binaries import BinariesUnavailable, ensure_binaries
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  selector:
    matchLabels: {app: shop}
  template:
    metadata:
      labels: {app: shop}
    spec:
      containers:
      - name: shop
        image: registry.example/shop:7
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    try:
        ensure_binaries()
    except BinariesUnavailable as missing:
        pytest.skip(f"no Kubernetes binaries: {missing}")
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}


def sandbox(environ: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *args],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip


def shell(command: str) -> str:
    done = subprocess.run(
        ["bash", "-euc", command], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_up_serves_any_config_repo_and_down_leaves_nothing(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Files of one's own are the config repo; kubectl and lockgate act on the playground from a shell."""
    (tmp_path / "repo" / "dev").mkdir(parents=True)
    (tmp_path / "repo" / "dev" / "shop.yaml").write_text(DEPLOYMENT)
    assert sandbox(environ, "status").returncode == 3
    up = sandbox(environ, "up", "--files", str(tmp_path / "repo"))
    try:
        assert up.returncode == 0, up.stderr
        assert sandbox(environ, "status").stdout == up.stdout
        facts = dict(line.split(": ", 1) for line in up.stdout.splitlines())
        enter = facts["shell"].split("#")[0]
        shell(f"{enter}\n{facts['try']}")
        end = time.monotonic() + 30
        while "registry.example/shop:7" not in shell(
            f"{enter}\nkubectl get pods -n myapp -o yaml 2>/dev/null"
        ):
            assert time.monotonic() < end, "the agent did not apply the config repo"
            time.sleep(0.2)
        bump = (
            "lockgate bump --project group/config --image registry.example/shop --tag 8 --env dev"
        )
        assert "!1" in shell(f"{enter}\n{bump}")
    finally:
        down = sandbox(environ, "down")
    assert down.stdout == "stopped\n"
    assert [p for p in (tmp_path / "state").rglob("*") if not p.is_dir()] == []
    assert sandbox(environ, "status").returncode == 3


def test_a_folder_that_is_not_there_is_told_before_anything_starts(
    environ: dict[str, str],
) -> None:
    up = sandbox(environ, "up", "--files", "/nowhere")
    assert up.returncode == 1
    assert up.stderr == "--files /nowhere: no such folder\n"
