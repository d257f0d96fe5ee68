"""Where the control plane's programs come from: named folders, cache, verified downloads, go build."""

import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.controlplane import binaries, build, download, versions
from sandbox.controlplane.binaries import PROGRAMS, BinariesUnavailable
from sandbox.controlplane.progress import Progress
from sandbox.processes import SandboxError
from tests.conftest import ROOT

SUM = "0" * 63 + "1"


def put(folder: Path, *programs: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for program in programs:
        (folder / program).write_text(f"#!/bin/sh\n# {folder.name}\n")
        (folder / program).chmod(0o755)
    return folder


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}


def test_named_folders_go_before_the_cache(tmp_path: Path, environ: dict[str, str]) -> None:
    """LOCKGATE_SANDBOX_BIN, then KUBEBUILDER_ASSETS for what it has, then the cache for the rest."""
    environ["LOCKGATE_SANDBOX_BIN"] = str(put(tmp_path / "own", "etcd"))
    environ["KUBEBUILDER_ASSETS"] = str(put(tmp_path / "assets", "etcd", "kubectl"))
    put(binaries.cache_folder(environ), *PROGRAMS)
    found = binaries.ensure_binaries(environ)
    assert found.etcd.parent.name == "own"
    assert found.kubectl.parent.name == "assets"
    assert found.apiserver.parent == binaries.cache_folder(environ)


def test_a_named_folder_that_is_not_there_is_an_error(environ: dict[str, str]) -> None:
    """A typo in the variable is not silently another source."""
    environ["LOCKGATE_SANDBOX_BIN"] = "/nowhere"
    with pytest.raises(SandboxError, match="/nowhere is no folder"):
        binaries.find_binaries(environ)


def test_the_cache_is_keyed_by_the_versions(environ: dict[str, str]) -> None:
    """A newer Kubernetes is another folder."""
    name = binaries.cache_folder(environ).name
    for version in (versions.KUBERNETES, versions.ETCD, versions.KWOK):
        assert version in name


def test_the_versions_are_those_of_the_go_modules() -> None:
    """Downloads and builds give the same programs."""
    kubernetes = (build.TOOLS / "kubernetes" / "go.mod").read_text()
    kwok = (build.TOOLS / "kwok" / "go.mod").read_text()
    assert re.search(rf"k8s\.io/kubernetes v{re.escape(versions.KUBERNETES)}\b", kubernetes)
    assert re.search(rf"go\.etcd\.io/etcd/server/v3 v{re.escape(versions.ETCD)}\b", kubernetes)
    assert re.search(rf"sigs\.k8s\.io/kwok v{re.escape(versions.KWOK)}\b", kwok)
    assert set(build.PACKAGES) == set(PROGRAMS)


def test_without_network_and_go_it_says_what_to_install(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No way left: the message names the three ways out."""
    monkeypatch.setattr(download, "_probe", lambda url, answers: None)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(BinariesUnavailable) as info:
        binaries.ensure_binaries(environ)
    for word in ("etcd", "Go 1.26", "HTTPS_PROXY", "LOCKGATE_SANDBOX_BIN"):
        assert word in str(info.value)
    assert "out of reach" in capsys.readouterr().err
    assert list(binaries.cache_folder(environ).iterdir()) == []


def test_a_machine_without_a_way_out_loses_under_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One probe of one host; even a name server that never answers cannot hold it longer."""
    monkeypatch.setattr(download, "_probe", lambda url, answers: time.sleep(30))
    begun = time.monotonic()
    assert not download.reachable(["kubectl"])
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{SUM}\n", SUM),
        (f"{'2' * 64}  other\n{SUM}  file\n", SUM),
        (f"{SUM} *file\n", SUM),
        (json.dumps({"assets": [{"name": "file", "digest": f"sha256:{SUM}"}]}), SUM),
        (json.dumps({"assets": [{"name": "file", "digest": None}]}), None),
        (json.dumps({"assets": [{"name": "other", "digest": f"sha256:{SUM}"}]}), None),
        (f"{SUM}  other\n", None),
        ("<html>not found</html>", None),
    ],
)
def test_published_checksums_are_read_in_each_projects_form(
    text: str, expected: str | None
) -> None:
    """A bare sum, a list of sums, a release's JSON; what is not there is not guessed."""
    assert download.checksum_in(text, "file") == expected


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder served over HTTP, as a project's downloads are."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **more: object) -> None:
            super().__init__(*args, directory=str(folder), **more)  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_is_verified_and_unpacked(
    releases: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive's sum is the published one; its member becomes the program."""
    folder, base = releases
    with tarfile.open(folder / "etcd.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("etcd-v1/etcd")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"prog"))
    digest = hashlib.sha256((folder / "etcd.tar.gz").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{digest}  etcd.tar.gz\n")
    source = download.Source(
        url=f"{base}/etcd.tar.gz", checksum_url=f"{base}/SHA256SUMS", member="etcd-v1/etcd"
    )
    monkeypatch.setattr(download, "source_of", lambda *_: source)
    download.fetch("etcd", tmp_path / "etcd")
    assert (tmp_path / "etcd").read_bytes() == b"prog"
    assert not (tmp_path / "etcd.part").exists()


def test_a_download_with_another_checksum_is_refused_and_gone(
    releases: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the project did not publish is never installed."""
    folder, base = releases
    (folder / "kubectl").write_bytes(b"something else")
    (folder / "kubectl.sha256").write_text(SUM)
    source = download.Source(url=f"{base}/kubectl", checksum_url=f"{base}/kubectl.sha256")
    monkeypatch.setattr(download, "source_of", lambda *_: source)
    with pytest.raises(download.DownloadError, match="its project publishes"):
        download.fetch("kubectl", tmp_path / "kubectl")
    assert [p.name for p in tmp_path.iterdir()] == ["served"]


def test_sources_are_the_projects_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is fetched over https; platforms without published servers have none."""
    for program in PROGRAMS:
        source = download.source_of(program, "linux", "x86_64")
        assert source is not None
        assert source.url.startswith(("https://dl.k8s.io/", "https://github.com/"))
        assert source.checksum_url.startswith("https://")
        assert download.source_of(program, "darwin", "arm64") is None


def test_two_processes_do_not_build_at_the_same_time(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """The second waits, then finds what the first installed; each program is built once."""
    code = (
        "import sys, time; from pathlib import Path; from sandbox.controlplane import binaries as b\n"
        "b.download.reachable = lambda missing: False\n"
        "def build(program, target, progress):\n"
        "    with open(sys.argv[1], 'a') as log: log.write(program + '\\n')\n"
        "    time.sleep(0.1); target.write_text('built')\n"
        "b._built = build\n"
        "b.ensure_binaries()"
    )
    log = tmp_path / "built"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(log)],
            cwd=ROOT,
            env={**os.environ, **environ, "LOCKGATE_SANDBOX_BIN": "", "KUBEBUILDER_ASSETS": ""},
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    assert [process.wait(30) for process in running] == [0, 0]
    assert sorted(log.read_text().split()) == sorted(PROGRAMS)


def test_a_failed_build_tells_the_compilers_last_words(tmp_path: Path) -> None:
    """And installs nothing."""
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'go: cannot find module' >&2\nexit 1\n")
    go.chmod(0o755)
    with pytest.raises(build.BuildError, match="cannot find module"):
        build.build(str(go), "kwok", tmp_path / "kwok")
    assert not (tmp_path / "kwok").exists()


def test_a_build_links_the_version_in(tmp_path: Path) -> None:
    """Static, from the locked modules, stamped; otherwise kubectl refuses to compare versions."""
    go = tmp_path / "go"
    go.write_text(f'#!/bin/sh\necho "$CGO_ENABLED $GOFLAGS $PWD $*" > {tmp_path}/said\n')
    go.chmod(0o755)
    build.build(str(go), "kubectl", tmp_path / "kubectl")
    said = (tmp_path / "said").read_text()
    assert said.startswith(f"0 -mod=readonly {build.TOOLS / 'kubernetes'} build ")
    assert f"version.gitVersion=v{versions.KUBERNETES}" in said
    assert said.rstrip().endswith("k8s.io/kubernetes/cmd/kubectl")


def test_progress_in_a_log_is_one_line_a_step() -> None:
    """What happened and how long it took; a failure is told as such."""
    out = io.StringIO()
    with Progress(out).step("etcd: download"):
        pass
    with pytest.raises(ValueError, match="x"), Progress(out).step("kwok: go build"):
        raise ValueError("x")
    assert out.getvalue() == "etcd: download done in 0 s\nkwok: go build failed after 0 s\n"


def test_progress_on_a_terminal_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that takes longer shows its seconds while it runs."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sandbox.controlplane.progress.TICK_S", 0.01)
    out = Terminal()
    with Progress(out).step("etcd: go build"):
        end = time.monotonic() + 5
        while "…" not in out.getvalue():
            assert time.monotonic() < end
            time.sleep(0.01)
    assert "etcd: go build … 0 s" in out.getvalue()
