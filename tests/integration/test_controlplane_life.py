"""Control planes come and go without a trace, side by side, also when their owner is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.controlplane import components, plane
from sandbox.controlplane.plane import ControlPlane
from sandbox.processes import SandboxError
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster


def eventually(check: Callable[[], bool], deadline_s: float = 20) -> None:
    end = time.monotonic() + deadline_s
    while not check():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


def processes_below(root: Path) -> list[str]:
    """Every process that names the folder in its command line, whoever started it."""
    found = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = cmdline.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(root) in text and int(cmdline.parent.name) != os.getpid():
            found.append(text)
    return found


def test_two_run_side_by_side_and_leave_nothing(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """A second instance has its own ports, keys and objects; afterwards none of its processes is left."""
    with ControlPlane(tmp_path / "second") as second:
        print(f"\nsecond instance ready in {second.started_in_s:.1f} s")
        second.kubectl("create", "namespace", "only-there")
        assert "only-there" not in control_plane.kubectl("get", "namespaces", "-o", "name")
        assert second.server != control_plane.server
        with pytest.raises(SandboxError):
            # The first one's CA does not vouch for the second.
            control_plane.kubectl("get", "nodes", f"--server={second.server}")
        assert second.started_in_s < 30
    assert processes_below(tmp_path) == []


def test_a_killed_owner_leaves_no_process_and_the_folder_can_be_used_again(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """kill -9 of the Python process that started it; then a new start in the same folder begins afresh."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from sandbox.controlplane.plane import ControlPlane\n"
        "p = ControlPlane(Path(sys.argv[1])).start(); p.kubectl('create', 'namespace', 'left')\n"
        "print('up', flush=True); time.sleep(600)"
    )
    root = tmp_path / "plane"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        assert len(processes_below(root)) >= 5
        owner.send_signal(signal.SIGKILL)
    eventually(lambda: not processes_below(root))
    with ControlPlane(root) as again:
        assert "left" not in again.kubectl("get", "namespaces", "-o", "name")


def test_a_port_taken_in_between_only_costs_another_try(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between choosing a port and using it somebody may take it: the start is tried again with others."""
    busy = [int(control_plane.server.rsplit(":", 1)[1])] * 3
    choices = [busy]
    real = plane.free_ports
    monkeypatch.setattr(plane, "free_ports", lambda n: choices.pop() if choices else real(n))
    with ControlPlane(tmp_path / "plane") as started:
        assert choices == []
        assert started.kubectl("get", "nodes", "-o", "name").startswith("node/")


def test_a_failed_start_names_the_part_and_its_log(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that ends is told at once, with its last words; the others are gone."""
    broken = tmp_path / "stages.yaml"
    broken.write_text("kind: [")
    monkeypatch.setattr(components, "STAGES", broken)
    with pytest.raises(SandboxError, match="kwok ended with") as info:
        ControlPlane(tmp_path / "plane").start()
    log = tmp_path / "plane" / "logs" / "kwok.log"
    assert str(log) in str(info.value)
    assert log.exists()
    assert processes_below(tmp_path / "plane") == []


def test_up_status_and_down_from_the_shell(control_plane: ControlPlane, tmp_path: Path) -> None:
    """`up` leaves a control plane running, `status` finds it, `down` ends it and removes its files."""
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "sandbox.controlplane", command]
        return subprocess.run(
            argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120
        )

    assert run("status").returncode == 3
    up = run("up")
    try:
        assert up.returncode == 0, up.stderr
        config = Path(up.stdout.rsplit("KUBECONFIG=", 1)[1].strip())
        assert "node/" in control_plane.kubectl_as(config, "get", "nodes", "-o", "name")
        assert run("up").stdout == up.stdout
        assert str(config) in run("status").stdout
    finally:
        down = run("down")
    assert down.stdout == "stopped\n"
    assert processes_below(tmp_path) == []
    assert not (tmp_path / "lockgate" / "controlplane" / "data").exists()
    assert run("status").returncode == 3
