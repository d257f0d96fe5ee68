"""`make demo` without a terminal plays all six steps and leaves nothing; a broken part makes it fail (D51)."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.controlplane.binaries import Binaries, BinariesUnavailable, ensure_binaries
from sandbox.workspace import remove_leftovers
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster
DEADLINE_S = 240


@pytest.fixture(scope="module")
def binaries() -> Binaries:
    try:
        return ensure_binaries()
    except BinariesUnavailable as missing:
        pytest.skip(f"no Kubernetes binaries: {missing}")


def start_demo(tmp: Path, module: str = "sandbox.demo") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_below(folder: Path) -> list[str]:
    found = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = cmdline.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in text and int(cmdline.parent.name) != os.getpid():
            found.append(text)
    return found


def eventually(check: Callable[[], bool], deadline_s: float = 20) -> None:
    end = time.monotonic() + deadline_s
    while not check():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


def test_the_story_plays_to_its_end_and_leaves_nothing(binaries: Binaries, tmp_path: Path) -> None:
    """Exit 0, all six steps, the table of times and the comment; no process and no file stays."""
    with start_demo(tmp_path) as demo:
        told, _ = demo.communicate(timeout=DEADLINE_S)
    print(told)
    assert demo.returncode == 0
    for number in range(1, 7):
        assert re.search(rf"^{number}  ", told, re.MULTILINE)
    for row in ("bump → MR", "merge → applied", "applied → healthy", "drift → healed"):
        assert re.search(rf"{row} +\d", told)
    assert "The comment on !1" in told
    assert list(tmp_path.iterdir()) == []
    assert processes_below(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_middle_it_leaves_nothing(
    binaries: Binaries, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C or kill while the parts run: they end, and the folder goes."""
    with start_demo(tmp_path) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("2  "):
                break
        assert len(processes_below(tmp_path)) >= 8
        demo.send_signal(number)
        rest = demo.stdout.read()
        assert demo.wait(30) == 128 + number
    assert "Traceback" not in rest
    assert processes_below(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_killed_outright_it_leaves_no_process_and_the_next_start_removes_its_files(
    binaries: Binaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9: the kernel ends the parts; the folder goes with the next start."""
    with start_demo(tmp_path) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("1  "):
                break
        demo.kill()
    eventually(lambda: processes_below(tmp_path) == [])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert len(remove_leftovers("demo")) == 1
    assert list(tmp_path.iterdir()) == []


SABOTAGE = {
    # What is broken: how, and the step that must notice.
    "the agent is dead": (
        (
            "real = s.Story.approve_and_merge\n"
            "def step(self):\n    self.stack.kill_part('agent'); real(self)\n"
            "s.Story.approve_and_merge = step"
        ),
        4,
    ),
    "the webhook's secret is another": (
        (
            "real = c.hub_config\n"
            "def config(root, *rest):\n"
            "    text = real(root, *rest)\n"
            "    c.write_private(root / 'webhook-secret', 'another')\n"
            "    return text\n"
            "c.hub_config = config"
        ),
        3,
    ),
    "another tag is bumped": (
        (
            "real = k.Stack.lockgate\n"
            "k.Stack.lockgate = lambda self, *a: real(self, *('1.1' if x == '1.2' else x for x in a))"
        ),
        2,
    ),
    "the hub is dead": (
        (
            "real = s.Story.drift\n"
            "def step(self):\n    self.stack.kill_part('hub'); real(self)\n"
            "s.Story.drift = step"
        ),
        5,
    ),
}


@pytest.mark.parametrize("what", SABOTAGE)
def test_a_broken_part_makes_it_fail_and_say_where(
    binaries: Binaries, tmp_path: Path, what: str
) -> None:
    """D51: the demo asserts; it does not only narrate. It ends with 1, the step, what was seen, and kept logs."""
    code, step = SABOTAGE[what]
    script = tmp_path / "sabotage.py"
    script.write_text(
        "import sys\n"
        "from sandbox import demo, demo_screen, demo_steps as s, settings as c, stack as k\n"
        "demo_screen.DEADLINE_S = 8\n"
        f"{code}\n"
        "sys.exit(demo.main())\n"
    )
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 1
    assert f"step {step} (" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    kept = Path(re.findall(r"^logs: (.*)$", done.stdout, re.MULTILINE)[0])
    assert (kept / "logs" / "hub.log").stat().st_size > 0
    assert {p.suffix for p in kept.rglob("*") if p.is_file()} == {".log"}
    assert processes_below(temporary) == []


def test_with_a_terminal_the_person_decides_and_it_stays_up_until_ctrl_c(
    binaries: Binaries, tmp_path: Path
) -> None:
    """Enter lets the senior act; at the end everything stays, Ctrl-C ends it with 0 and leaves nothing."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox.demo"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        asked = 0
        told = []
        for line in demo.stdout:
            told.append(line)
            if "press Enter" in line:
                asked += 1
                os.write(master, b"\n")
            if "Ctrl-C ends it" in line:
                break
        assert asked == 3, "".join(told)
        assert len(processes_below(tmp_path)) >= 8
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    os.close(master)
    os.close(slave)
    assert processes_below(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
