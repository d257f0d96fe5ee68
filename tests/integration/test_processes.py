"""Supervised children end with their owner, whatever happens to it; temporary folders do too."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import processes, workspace
from sandbox.keeper import Keeper
from sandbox.processes import Child, Command, SandboxError
from tests.conftest import ROOT

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
# A program that ignores TERM and has a child of its own.
STUBBORN = [
    sys.executable,
    "-c",
    (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    ),
]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def eventually(check: Callable[[], bool], deadline_s: float = 10) -> None:
    end = time.monotonic() + deadline_s
    while not check():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def sleeper(tmp_path: Path, argv: list[str] = SLEEPER) -> Child:
    return processes.start(Command(name="sleeper", argv=argv, log=tmp_path / "sleeper.log"))


def test_stop_ends_an_orderly_program_by_term(tmp_path: Path) -> None:
    """TERM is tried first."""
    child = sleeper(tmp_path)
    assert child.running()
    assert child.stop() == -signal.SIGTERM
    assert not alive(child.pid)


def test_stop_kills_what_ignores_term_and_its_children(tmp_path: Path) -> None:
    """After the deadline the whole group is killed."""
    child = sleeper(tmp_path, STUBBORN)
    log = tmp_path / "sleeper.log"
    eventually(lambda: log.read_text().endswith("\n"))
    grandchild = int(log.read_text())
    begun = time.monotonic()
    assert child.stop(deadline_s=0.3) == -signal.SIGKILL
    assert time.monotonic() - begun < 5
    eventually(lambda: not alive(grandchild))


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """Linux ties the death signal to the forking thread; ours lives as long as the interpreter."""
    started: list[Child] = []
    thread = threading.Thread(target=lambda: started.append(sleeper(tmp_path)))
    thread.start()
    thread.join()
    with pytest.raises(subprocess.TimeoutExpired):
        started[0].process.wait(0.3)
    started[0].stop()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_owner_leaves_no_child(tmp_path: Path) -> None:
    """kill -9 of the owner: the kernel kills the children."""
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import sys, time; from pathlib import Path; from sandbox import processes as p\n"
                f"c = p.start(p.Command(name='x', argv={SLEEPER!r}, log=Path({str(tmp_path / 'x.log')!r})))\n"
                "print(c.pid, flush=True); time.sleep(600)"
            ),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert alive(pid)
        owner.kill()
    eventually(lambda: not alive(pid))


def test_a_child_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    """Waiting for something stops as soon as its process is gone, and says where to look."""
    child = sleeper(tmp_path, [sys.executable, "-c", "print('no such flag'); raise SystemExit(3)"])
    with pytest.raises(
        SandboxError, match=r"ended with 3 before a sign(.|\n)*no such flag"
    ) as info:
        processes.wait_until("a sign", lambda: False, children=[child], deadline_s=20)
    assert str(tmp_path / "sleeper.log") in str(info.value)


def test_a_missing_program_is_an_error_that_names_it(tmp_path: Path) -> None:
    """The launcher cannot become what is not there."""
    child = sleeper(tmp_path, ["/nowhere/kube-apiserver"])
    with pytest.raises(SandboxError, match="/nowhere/kube-apiserver"):
        processes.wait_until("a sign", lambda: False, children=[child], deadline_s=20)


def test_free_ports_are_free_and_differ() -> None:
    """Each can be bound, none is handed out twice, none is one that is in use."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", processes.free_ports(1)[0]))
        taken.listen()
        ports = processes.free_ports(20)
        assert taken.getsockname()[1] not in ports
    assert len(set(ports)) == 20


def test_a_workspace_is_removed_at_the_end_but_for_logs_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logs of a failure are kept on request, nothing else, and then nobody sweeps them away."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with workspace.workspace("t") as gone:
        (gone.root / "file").touch()
        assert workspace.remove_leftovers("t") == []
    with workspace.workspace("t") as kept:
        (kept.root / "logs").mkdir()
        for file in ("logs/hub.log", "logs/hub.db", "token"):
            (kept.root / file).touch()
        kept.keep_logs()
    assert not gone.root.exists()
    assert workspace.remove_leftovers("t") == []
    assert [p for p in kept.root.rglob("*") if p.is_file()] == [kept.root / "logs" / "hub.log"]


def test_what_a_killed_owner_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder whose lock nobody holds has no owner."""
    code = (
        "import os, signal; from sandbox.workspace import workspace\n"
        "with workspace('t') as w: print(w.root, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    left = Path(ended.stdout.strip())
    assert left.is_dir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with workspace.workspace("t"):
        assert not left.exists()


def test_signals_become_one_orderly_end() -> None:
    """The first of INT, TERM, HUP ends the block; a second one does not disturb the cleaning up."""
    cleaned = False

    def work() -> None:
        nonlocal cleaned
        with workspace.orderly_end():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                os.kill(os.getpid(), signal.SIGINT)
                cleaned = True

    with pytest.raises(workspace.Stopped) as info:
        work()
    assert cleaned
    assert info.value.exit_code == 143


def test_down_of_something_that_is_not_up_says_so(tmp_path: Path) -> None:
    """A stale pid file means nothing: only the lock says that a keeper lives."""
    keeper = Keeper("nowhere", "thing", base=tmp_path)
    keeper.state.mkdir()
    (keeper.state / "keeper.pid").write_text(str(os.getpid()))
    (keeper.state / "facts.json").write_text("{}")
    assert not keeper.running()
    assert keeper.down() is False
    assert keeper.facts() == {}
