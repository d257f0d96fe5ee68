"""Where the control plane's programs come from, in this order:

1. the folders `LOCKGATE_SANDBOX_BIN` and `KUBEBUILDER_ASSETS` name, for the programs they hold;
2. the cache, `~/.cache/lockgate/<versions>` (`XDG_CACHE_HOME` is honoured);
3. the projects' own release downloads, verified against the checksums they publish;
4. `go build` from `sandbox/tools`.

Whatever is fetched or built is put into the cache under its final name only when it is whole. Two processes that need
the same programs wait for each other.
"""

import contextlib
import fcntl
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.controlplane import build, download
from sandbox.controlplane.progress import Progress
from sandbox.controlplane.versions import ETCD, KUBERNETES, KWOK
from sandbox.processes import SandboxError

PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kwok",
)
FOLDER_VARIABLES = ("LOCKGATE_SANDBOX_BIN", "KUBEBUILDER_ASSETS")


class BinariesUnavailable(SandboxError):  # noqa: N818 - read as a sentence where it is caught
    """The programs can be had in no way; the message says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """The programs, as files."""

    etcd: Path
    apiserver: Path
    controller_manager: Path
    scheduler: Path
    kubectl: Path
    kwok: Path

    @classmethod
    def of(cls, found: Mapping[str, Path]) -> "Binaries":
        return cls(
            etcd=found["etcd"],
            apiserver=found["kube-apiserver"],
            controller_manager=found["kube-controller-manager"],
            scheduler=found["kube-scheduler"],
            kubectl=found["kubectl"],
            kwok=found["kwok"],
        )


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the cache of exactly these versions on this platform."""
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    key = f"kubernetes-{KUBERNETES}-etcd-{ETCD}-kwok-{KWOK}-{sys.platform}-{platform.machine()}"
    return Path(base) / "lockgate" / key


def find_binaries(environ: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """Return the programs that are here already, by name; fetches nothing."""
    named = [Path(environ[v]) for v in FOLDER_VARIABLES if environ.get(v)]
    for folder in named:
        if not folder.is_dir():
            raise SandboxError(f"{folder} is no folder; correct {' or '.join(FOLDER_VARIABLES)}")
    found: dict[str, Path] = {}
    for folder in (*named, cache_folder(environ)):
        for program in PROGRAMS:
            path = folder / program
            if program not in found and os.access(path, os.X_OK) and path.is_file():
                found[program] = path.resolve()
    return found


def ensure_binaries(environ: Mapping[str, str] = os.environ) -> Binaries:
    """Return all programs, fetching or building what is missing. Raises BinariesUnavailable."""
    found = find_binaries(environ)
    if len(found) < len(PROGRAMS):
        cache = cache_folder(environ)
        with _lock(cache.parent):
            found = find_binaries(environ)
            missing = [p for p in PROGRAMS if p not in found]
            for program in _install(missing, cache):
                found[program] = cache / program
    return Binaries.of(found)


def _install(missing: list[str], cache: Path) -> list[str]:
    """Put the missing programs into the cache; each as soon as it is there, so that a second try has less to do."""
    if not missing:
        return []
    cache.mkdir(parents=True, exist_ok=True)
    progress = Progress(sys.stderr)
    online = download.reachable(missing)
    if not online:
        progress.say(
            "release downloads are out of reach; building with Go instead (once, about ten minutes)"
        )
    with tempfile.TemporaryDirectory(dir=cache.parent, prefix="incoming-") as incoming:
        for program in missing:
            made = Path(incoming) / program
            if not (online and _downloaded(program, made, progress)):
                _built(program, made, progress)
            made.chmod(0o755)
            made.replace(cache / program)
    return missing


def _downloaded(program: str, target: Path, progress: Progress) -> bool:
    try:
        with progress.step(f"{program}: download"):
            download.fetch(program, target)
    except download.DownloadError as error:
        progress.say(f"{program}: {error}; building it with Go instead")
        return False
    return True


def _built(program: str, target: Path, progress: Progress) -> None:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise BinariesUnavailable(
            f"{program} can be neither downloaded nor built here. Either make {download.HOSTS_TEXT} reachable "
            "(HTTPS_PROXY is honoured), or install Go 1.26 or newer (https://go.dev/dl), or put "
            f"{', '.join(PROGRAMS)} into a folder and set LOCKGATE_SANDBOX_BIN to it"
        )
    try:
        with progress.step(f"{program}: go build"):
            build.build(go, program, target)
    except build.BuildError as error:
        raise BinariesUnavailable(f"{program}: go build failed\n{error}") from error


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "install.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            Progress(sys.stderr).say(
                "another process is fetching the control plane; waiting for it"
            )
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
