"""Branches of the bot and what it writes into a commit to know its own again.

A target (environment and service) has one rolling branch, `lockgate/<env>/<service>`, holding one commit. The
trailers of that commit say what it is; its seal is a digest of the files it leaves behind, so that a commit which
a person amended is not taken for ours.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PREFIX = "lockgate/"
_BAD = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|\.$|/$|^[-/.]")
_TRAILER = re.compile(r"^(Lockgate-[A-Za-z]+): (.+)$", re.MULTILINE)
_LONGEST = 200


def branch_problem(name: str) -> str:
    """Return why a name cannot be a branch, or nothing. A leading dash is an option in disguise."""
    if not name:
        return "is empty"
    if len(name) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    if name == "@" or _BAD.search(name):
        return "is not a valid branch name"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The pipeline a bump comes from; empty where no CI says."""

    source: str = ""  # the app's project
    pipeline: int | None = None
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trailers:
    """What a bump commit says about itself."""

    image: str
    tag: str
    target: str
    base: str
    seal: str
    digest: str = ""
    source: str = ""
    pipeline: int | None = None

    def lines(self) -> str:
        pairs = [
            ("Image", self.image),
            ("Tag", self.tag),
            ("Digest", self.digest),
            ("Source", self.source),
            ("Pipeline", "" if self.pipeline is None else str(self.pipeline)),
            ("Target", self.target),
            ("Base", self.base),
            ("Seal", self.seal),
        ]
        return "\n".join(f"Lockgate-{key}: {value}" for key, value in pairs if value)


def find_trailers(message: str) -> Trailers | None:
    """Return the trailers in a commit message or merge-request body, or None where it is not a bump's."""
    found: Mapping[str, str] = dict(_TRAILER.findall(message))
    try:
        pipeline = found.get("Lockgate-Pipeline")
        return Trailers(
            image=found["Lockgate-Image"],
            tag=found["Lockgate-Tag"],
            target=found["Lockgate-Target"],
            base=found["Lockgate-Base"],
            seal=found["Lockgate-Seal"],
            digest=found.get("Lockgate-Digest", ""),
            source=found.get("Lockgate-Source", ""),
            pipeline=int(pipeline) if pipeline and pipeline.isdecimal() else None,
        )
    except KeyError:
        return None


def seal(blobs: Iterable[tuple[str, str]]) -> str:
    """Return a digest over (path, blob id) of every file a commit changes."""
    text = "\0".join(f"{path}\0{blob}" for path, blob in sorted(blobs))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def blob_id(data: bytes) -> str:
    """Return git's name for a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def rolling_branch(scope: str, service: str) -> str:
    """Return the branch of a target; scope is the environment's name or the slug of a path."""
    return f"{PREFIX}{scope}/{service}"
