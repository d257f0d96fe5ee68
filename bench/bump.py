"""The bump: one edit against ruamel's round trip, one commit against clone + sed + commit, and how fast the CLI is there."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from bench.table import Row, milliseconds
from ci_bot.core.edits import Wanted, bump_file
from ci_bot.core.images import parse_name

IMAGE = "registry.example/team/app0"
FILES = 5000
DOCUMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app{n}
spec:
  replicas: 2
  selector:
    matchLabels: {{app: app{n}}}
  template:
    metadata:
      labels: {{app: app{n}}}
    spec:
      containers:
      - name: app
        image: registry.example/team/app{n}:1.0
        env:
{env}
---
"""
ENV = "\n".join(f"        - {{name: VARIABLE_{k}, value: 'value {k}'}}" for k in range(30))


def measure() -> list[Row]:
    return [_edit(2), _edit(1_000_000), *_commit(), _help()]


def _best(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


def _edit(size: int) -> Row:
    """Edit one image in a file of about `size` bytes (at least one document)."""
    documents = [DOCUMENT.format(n=0, env=ENV)]
    while sum(map(len, documents)) < size:
        documents.append(DOCUMENT.format(n=len(documents), env=ENV))
    data = "".join(documents).encode()
    wanted = Wanted(image=parse_name(IMAGE), tag="1.2")
    assert bump_file("a.yaml", data, wanted).edits
    ours = _best(lambda: bump_file("a.yaml", data, wanted), 20)
    theirs = _best(lambda: _round_trip(data), 1 if size > 10_000 else 5)
    limit = 0.001 if size < 10_000 else 0.005
    return Row(
        what=f"edit one tag, file of {len(data) / 1000:,.1f} kB",
        measured=milliseconds(ours),
        peer=f"ruamel round trip {milliseconds(theirs)} ({theirs / ours:,.0f}x)",
        reach=f"≤ {limit * 1000:.0f} ms",
        met=ours <= limit,
    )


def _round_trip(data: bytes) -> str:
    yaml = YAML()
    yaml.preserve_quotes = True
    out = StringIO()
    for document in yaml.load_all(data.decode()):
        if document and document["metadata"]["name"] == "app0":
            container = document["spec"]["template"]["spec"]["containers"][0]
            container["image"] = f"{IMAGE}:1.2"
        yaml.dump(document, out)
    return out.getvalue()


@contextlib.contextmanager
def _repository() -> Iterator[Path]:
    """A bare config repo of 5,000 files."""
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as folder:
        root = Path(folder)
        work = root / "work"
        for n in range(FILES):
            file = work / f"apps/{n // 100}/app{n}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(DOCUMENT.format(n=n, env=ENV))
        _run("git", "-C", str(work), "init", "-q", "-b", "main")
        _run("git", "-C", str(work), "add", ".")
        _run("git", "-C", str(work), "commit", "-q", "-m", "first")
        _run("git", "clone", "-q", "--bare", str(work), str(root / "config.git"))
        _run("git", "-C", str(root / "config.git"), "config", "uploadpack.allowFilter", "true")
        yield root


def _run(*argv: str, cwd: Path | None = None) -> None:
    subprocess.run(argv, cwd=cwd, check=True, capture_output=True)


def _commit() -> list[Row]:
    with _repository() as root:
        bare = root / "config.git"
        bash = _best(lambda: _with_bash(root, bare), 3)
        rows = []
        for path, files in (("apps/0", 100), (".", FILES)):
            runs = [_cold_start(bare, path) for _ in range(5)]
            wall, fetched = min(runs, key=lambda run: run[0] - run[1])
            own = wall - fetched
            rows.append(
                Row(
                    what=f"cold start → commit ready, 5,000-file repo, path {path} ({files:,} files), "
                    f"fetch of {milliseconds(fetched)} excluded",
                    measured=milliseconds(own),
                    peer=f"bash clone + sed + commit {milliseconds(bash)} ({bash / own:.1f}x; "
                    f"{bash / wall:.1f}x with the fetch)",
                    reach="≥ 8x faster" if path != "." else "",
                    met=bash / own >= 8 if path != "." else None,
                )
            )
        return rows


def _with_bash(root: Path, bare: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root) as folder:
        script = (
            f"git clone -q --depth 1 file://{bare} c && cd c && "
            f"sed -i 's#{IMAGE}:1.0#{IMAGE}:1.2#' apps/0/app0.yaml && git commit -qam bump"
        )
        _run("bash", "-c", script, cwd=Path(folder))


def _cold_start(bare: Path, path: str) -> tuple[float, float]:
    """Run a new Python process; return its whole time, and how much of it git spent on fetching."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "bench.bump_once", f"file://{bare}", path],
        cwd=Path(__file__).parent.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    return time.perf_counter() - begun, float(done.stdout)


def _help() -> Row:
    lockgate = Path(sys.executable).parent / "lockgate"
    environment = {"PATH": os.environ["PATH"]}
    taken = _best(
        lambda: subprocess.run(
            [lockgate, "--help"], env=environment, check=True, capture_output=True
        ),
        10,
    )
    python = _best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), 10)
    return Row(
        what="lockgate --help",
        measured=milliseconds(taken),
        peer=f"python -c pass {milliseconds(python)}",
        reach="≤ 120 ms",
        met=taken <= 0.12,
    )
