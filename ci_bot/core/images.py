"""Names of images: what `registry/app:1.2@sha256:…` means, and when two spellings are the same image.

Docker Hub's names are written in five ways (`nginx`, `library/nginx`, `docker.io/nginx` …); everything else is
compared as it stands. Tags and digests follow the OCI distribution grammar, in ASCII: a tag that only looks like
one (a line separator inside, a Cyrillic letter) is refused before it reaches a file.
"""

import hashlib
import re
from dataclasses import dataclass

from ci_bot.errors import UsageError

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile(
    r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
    r"|(?!sha256:|sha512:)[a-z0-9]+(?:[+._-][a-z0-9]+)*:[A-Za-z0-9=_-]{32,}",
    re.ASCII,
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_REGISTRY = re.compile(_HOST, re.ASCII)
_HUB = "docker.io"
_HUB_ALIASES = frozenset({_HUB, "index.docker.io", "registry-1.docker.io"})
_LONGEST_NAME = 255
_LONGEST_SLUG = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageName:
    """An image without tag or digest, in its one normal form."""

    registry: str  # "docker.io" for Docker Hub
    path: str  # "library/nginx", "acme/app"

    def __str__(self) -> str:
        """Return the short spelling a person would write."""
        return self.short if self.registry == _HUB else f"{self.registry}/{self.path}"

    @property
    def short(self) -> str:
        """The repository without its registry (and without Docker Hub's `library/`)."""
        return self.path.removeprefix("library/") if self.registry == _HUB else self.path

    @property
    def on_hub(self) -> bool:
        return self.registry == _HUB


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What stands in a file: a name with what follows it, not yet judged."""

    name: str
    tag: str = ""
    digest: str = ""

    @property
    def pinned(self) -> bool:
        return bool(self.digest)


def split_reference(text: str) -> Reference:
    """Split `name[:tag][@digest]`; a port's colon belongs to the name."""
    rest, _, digest = text.partition("@")
    slash = rest.rfind("/")
    colon = rest.find(":", slash + 1)
    if colon < 0:
        return Reference(name=rest, digest=digest)
    return Reference(name=rest[:colon], tag=rest[colon + 1 :], digest=digest)


def find_name(text: str) -> ImageName | None:
    """Return the normal form of a name, or None where the text is no image name."""
    if not text or len(text) > _LONGEST_NAME:
        return None
    head, slash, tail = text.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        registry, path = (_HUB if head in _HUB_ALIASES else head), tail
    else:
        registry, path = _HUB, text
    if not _REGISTRY.fullmatch(registry) or not _PATH.fullmatch(path):
        return None
    if registry == _HUB and "/" not in path:
        path = f"library/{path}"
    return ImageName(registry=registry, path=path)


def parse_name(text: str, *, option: str = "--image") -> ImageName:
    """Return the normal form of a name given by a person, or say what is wrong with it."""
    reference = split_reference(text)
    if reference.tag or reference.digest:
        raise UsageError(
            f"{option} {text!r} carries a tag or digest",
            hint=f"give the name alone ({option} {reference.name}) and the rest as --tag and --digest",
        )
    name = find_name(text)
    if name is None:
        raise UsageError(
            f"{option} {text!r} is not the name of an image",
            hint="names look like registry.example/group/app: lower case, no spaces, no scheme",
        )
    return name


def check_tag(tag: str) -> str:
    """Return the tag, or say why no registry would take it."""
    if not _TAG.fullmatch(tag):
        raise UsageError(
            f"{tag[:140]!r} is not a tag",
            hint="a tag is 1 to 128 of A-Z a-z 0-9 _ . - and starts with a letter, a digit or _",
        )
    return tag


def is_tag(tag: str) -> bool:
    return _TAG.fullmatch(tag) is not None


def check_digest(digest: str) -> str:
    """Return the digest, or say why it is none."""
    if digest and not _DIGEST.fullmatch(digest):
        raise UsageError(
            f"{digest[:160]!r} is not a digest",
            hint="a digest looks like sha256: and 64 hexadecimal digits",
        )
    return digest


def slug(text: str) -> str:
    """Return the text as one component of a branch name."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "root"
    if len(plain) <= _LONGEST_SLUG:
        return plain
    return f"{plain[: _LONGEST_SLUG - 7]}-{short_hash(text)}"


def short_hash(text: str) -> str:
    """Return six hexadecimal digits that tell two texts of the same slug apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]
