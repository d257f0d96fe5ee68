"""What a repoURL may look like, and when two spellings mean one repository.

A repoURL is data somebody wrote into an Application; it ends up in a git command line and decides which credential
is sent where. So it is taken apart here once: scheme and characters by allow-list, no userinfo, no path tricks that
could slip past a credential's prefix. Everything after this works with a `Repository`, not with text.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from agent.errors import SourceRefusedError

_MAX_LENGTH = 2048
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")
_PATH = re.compile(r"[A-Za-z0-9._~/+@=,%-]+")
_SCP = re.compile(r"(?:[A-Za-z0-9._-]+@)?(?P<host>[A-Za-z0-9.-]+):(?!/)(?P<path>.+)")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\<>|]|\.\.|@\{|//|/\.|\.lock(?:/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository that may be fetched."""

    url: str  # what git is given: no userinfo, no query
    host: str  # lower case, with the port unless it is the scheme's own
    path: str  # "/group/config", as spelled, without ".git"
    scheme: str = "https"

    @property
    def key(self) -> str:
        """One text a repository, however it is spelled; servers that tell cases apart keep theirs."""
        return f"{self.host}{self.path}"


def parse_repository(url: str, *, schemes: frozenset[str] = frozenset({"https"})) -> Repository:
    """Take a repoURL apart; raises `SourceRefusedError` for anything that is not a plain address."""
    shown = show(url)
    if not url or len(url) > _MAX_LENGTH or _CONTROL.search(url) or not url.isascii():
        raise SourceRefusedError(
            f"spec.source.repoURL {shown}: empty, too long, or with blanks, control or non-ASCII characters",
            hint="write it as https://host/group/repository.git",
        )
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise SourceRefusedError(
            f"spec.source.repoURL {shown}: only {' and '.join(sorted(schemes))} repositories are fetched",
            hint="write it as https://host/group/repository.git",
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        raise SourceRefusedError(f"spec.source.repoURL {shown}: not an address") from err
    if parts.username is not None or "@" in parts.netloc:
        raise SourceRefusedError(
            f"spec.source.repoURL {shown}: carries a user name or password",
            hint="take it out of the address (and change the password); give it to the agent with --git-credential",
        )
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise SourceRefusedError(f"spec.source.repoURL {shown}: has a query or fragment")
    return _build(parts.scheme, (parts.hostname or "").lower(), port, parts.path, shown)


def _build(scheme: str, host: str, port: int | None, path: str, shown: str) -> Repository:
    if ":" in host:
        host = f"[{host}]"
    if scheme != "file" and not _HOST.fullmatch(host):
        raise SourceRefusedError(f"spec.source.repoURL {shown}: the host name is not valid")
    path = path.rstrip("/")
    decoded = unquote(path)
    segments = decoded.split("/")[1:]
    if (
        not _PATH.fullmatch(path)
        or _CONTROL.search(decoded.replace(" ", ""))
        or re.search(r"%(?![0-9A-Fa-f]{2})|%2[EeFf5]|%5[Cc]", path)
        or any(segment in {"", ".", ".."} or segment.startswith("-") for segment in segments)
    ):
        raise SourceRefusedError(
            f"spec.source.repoURL {shown}: the path has characters or segments that are not allowed",
            hint="letters, digits and . _ ~ + @ = , - only, no '..', no empty segment",
        )
    authority = host if port in {None, 443} else f"{host}:{port}"
    return Repository(
        url=f"{scheme}://{authority}{path}",
        host=authority,
        path=path.removesuffix(".git"),
        scheme=scheme,
    )


def find_key(url: str) -> str | None:
    """Return one text for all spellings of a repository (https, ssh, scp-like, .git, case), or None.

    Used to compare what a hub or forge names with what Applications name; never to fetch.
    """
    if len(url) > _MAX_LENGTH or _CONTROL.search(url):
        return None
    if "://" not in url:
        scp = _SCP.fullmatch(url)
        if scp is None:
            return None
        host, path = scp["host"], "/" + scp["path"]
    else:
        try:
            parts = urlsplit(url)
            host, path, port = parts.hostname or "", parts.path, parts.port
        except ValueError:
            return None
        if port is not None and (parts.scheme, port) not in {("https", 443), ("ssh", 22)}:
            host = f"{host}:{port}"
    path = path.rstrip("/").removesuffix(".git")
    if not path or (not host and not url.startswith("file://")):
        return None
    return f"{host}{path}".casefold()


def same_repository(one: str, other: str) -> bool:
    """Tell whether two spellings name one repository."""
    key = find_key(one)
    return key is not None and key == find_key(other)


def is_commit_id(revision: str) -> bool:
    """Tell whether a targetRevision is a full commit id, SHA-1 or SHA-256."""
    return _COMMIT.fullmatch(revision) is not None


def check_target_revision(revision: str) -> str:
    """Return the targetRevision with its default (HEAD); refuses what cannot be a branch, tag or commit."""
    if revision in {"", "HEAD"}:
        return "HEAD"
    if revision.startswith(("-", "/", ".")) or revision.endswith(("/", ".")) or len(revision) > 250:
        raise _bad_revision(revision)
    if _REF_FORBIDDEN.search(revision) or revision == "@" or not revision.isprintable():
        raise _bad_revision(revision)
    return revision


def _bad_revision(revision: str) -> SourceRefusedError:
    shown = repr(revision[:80])
    return SourceRefusedError(
        f"spec.source.targetRevision {shown}: cannot be a branch, tag or commit",
        hint="name a branch, a tag, a full commit id or HEAD; version ranges are not supported",
    )


def check_path(path: str) -> tuple[str, ...]:
    """Return the segments of `spec.source.path`; refuses what leaves the repository ("." is its root)."""
    if "\0" in path or "\\" in path or path.startswith("/") or len(path) > 4096:
        raise SourceRefusedError(
            f"spec.source.path {path[:80]!r}: absolute, too long, or with a backslash or NUL",
            hint="name a folder below the repository's root, for example envs/dev",
        )
    segments = tuple(part for part in path.split("/") if part not in {"", "."})
    if any(part == ".." or part.lower() == ".git" for part in segments):
        raise SourceRefusedError(
            f"spec.source.path {path[:80]!r}: leaves the repository",
            hint="'..' and '.git' are not allowed in it",
        )
    return segments


def scrub(text: str) -> str:
    """Take userinfo out of every address in a text, and control characters out of the text."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", _USERINFO.sub("", text))


def show(url: str) -> str:
    """Return an address for a message: quoted, short, without userinfo."""
    return repr(scrub(url)[:120])
