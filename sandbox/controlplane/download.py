"""The projects' own release downloads, each verified against the checksum its project publishes.

Kubernetes publishes `<file>.sha256` beside each program, etcd one `SHA256SUMS` per release, kwok's releases carry a
digest per file in GitHub's release API. Servers are published for Linux only; elsewhere only `go build` is left.
"""

import hashlib
import json
import platform
import re
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sandbox.controlplane.versions import ETCD, KUBERNETES, KWOK

CONNECT_TIMEOUT_S = 2.0
# Name resolution knows no timeout of its own; the probe as a whole has this one.
PROBE_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 30.0
CHUNK = 1 << 20
ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
HOSTS_TEXT = "dl.k8s.io and github.com"


class DownloadError(Exception):
    """A download that did not work or was not what its project published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One download: the file, where its checksum stands, and its member when it is an archive."""

    url: str
    checksum_url: str
    member: str | None = None


def source_of(program: str, system: str, machine: str) -> Source | None:
    """Return where a program is published for a platform, or None."""
    arch = ARCHITECTURES.get(machine)
    if system != "linux" or arch is None:
        return None
    if program == "etcd":
        base = f"https://github.com/etcd-io/etcd/releases/download/v{ETCD}"
        folder = f"etcd-v{ETCD}-linux-{arch}"
        return Source(
            url=f"{base}/{folder}.tar.gz",
            checksum_url=f"{base}/SHA256SUMS",
            member=f"{folder}/etcd",
        )
    if program == "kwok":
        project = "kubernetes-sigs/kwok"
        return Source(
            url=f"https://github.com/{project}/releases/download/v{KWOK}/kwok-linux-{arch}",
            checksum_url=f"https://api.github.com/repos/{project}/releases/tags/v{KWOK}",
        )
    url = f"https://dl.k8s.io/release/v{KUBERNETES}/bin/linux/{arch}/{program}"
    return Source(url=url, checksum_url=f"{url}.sha256")


def reachable(programs: Sequence[str]) -> bool:
    """Probe one host, once: a machine without a way out loses three seconds, not a time-out per program."""
    source = source_of(programs[0], sys.platform, platform.machine())
    if source is None:
        return False
    answers: list[bool] = []
    probe = threading.Thread(target=_probe, args=(source.checksum_url, answers), daemon=True)
    probe.start()
    probe.join(PROBE_TIMEOUT_S)
    return bool(answers)


def _probe(url: str, answers: list[bool]) -> None:
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT_S):
            answers.append(True)
    except (OSError, ValueError):
        return


def fetch(program: str, target: Path) -> None:
    """Download one program into `target`. Raises DownloadError, and leaves nothing unverified behind."""
    source = source_of(program, sys.platform, platform.machine())
    if source is None:
        raise DownloadError(f"not published for {sys.platform} {platform.machine()}")
    name = urlsplit(source.url).path.rsplit("/", 1)[-1]
    part = target.with_name(f"{target.name}.part")
    try:
        published = checksum_in(_read(source.checksum_url), name)
        received = _save(source.url, part)
        if published is None or published != received:
            raise DownloadError(f"{name} has SHA-256 {received}, its project publishes {published}")
        if source.member is None:
            part.replace(target)
        else:
            _unpack(part, source.member, target)
    except (OSError, urllib.error.URLError, tarfile.TarError) as error:
        raise DownloadError(f"{urlsplit(source.url).hostname}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def checksum_in(text: str, name: str) -> str | None:
    """Find the SHA-256 of a file in what a project publishes: a bare sum, a list of sums, or a release as JSON."""
    text = text.strip()
    if text.startswith("{"):
        for asset in json.loads(text).get("assets", ()):
            if asset.get("name") == name:
                digest = str(asset.get("digest") or "")
                return digest.removeprefix("sha256:") or None
        return None
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text
    for line in text.splitlines():
        match line.split():
            case [digest, file] if file.lstrip("*") == name:
                return digest
    return None


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=READ_TIMEOUT_S) as answer:
        return str(answer.read().decode())


def _save(url: str, path: Path) -> str:
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=READ_TIMEOUT_S) as answer, path.open("wb") as out:
        while chunk := answer.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()


def _unpack(archive: Path, member: str, target: Path) -> None:
    with tarfile.open(archive) as files:
        found = files.extractfile(member)
        if found is None:
            raise DownloadError(f"{archive.name} has no {member}")
        with found, target.open("wb") as out:
            while chunk := found.read(CHUNK):
                out.write(chunk)
