"""What went wrong with a fetch, in words that say what to do.

git reports failures as English text; with `LC_ALL=C` it is stable enough to be classified. Anything not known here
still becomes a `SourceError` with git's own last line, scrubbed.
"""

import re

from agent.core.repositories import Repository, scrub, show
from agent.errors import SourceError
from agent.source.process import GitResult

_HTML = (
    "the server answered with a page instead of a git repository",
    "is repoURL the address for cloning? A login page means the server wants a credential: --git-credential",
)
_CUT = ("the connection broke in the middle of the transfer", "it is tried again")
_LOGIN = (
    "the server wants a credential, or does not accept the one it got",
    "give the agent a read-only token for this host and path with --git-credential, or renew it",
)
_GONE = (
    "the repository was not found",
    "check spec.source.repoURL; for a private repository many servers say 'not found' without a credential",
)
_TLS = (
    "the server's certificate is not trusted",
    "give the agent the issuing CA with --ca-file, or check the server's certificate",
)
_UNREACHABLE = (
    "the server cannot be reached",
    "it is tried again; check network, proxy and server",
)
_KNOWN: tuple[tuple[str, tuple[str, str]], ...] = (
    (r"could not resolve host", ("the host name does not resolve", "check spec.source.repoURL and the cluster's DNS")),
    (r"RPC failed|early EOF|unexpected disconnect|non-properly terminated", _CUT),
    (r"certificate|handshake|wrong version number", _TLS),
    (r"terminal prompts disabled|authentication failed|could not read (username|password)", _LOGIN),
    (r"returned error: 401", _LOGIN),
    (r"returned error: 403", ("the server forbids reading this repository", _LOGIN[1])),
    (r"returned error: (404|410)|repository '.*' not found|does not appear to be a git repository", _GONE),
    (r"returned error: 3\d\d|redirect", (
        "the server redirects to another address, which is not followed",
        "write the address it redirects to into spec.source.repoURL",
    )),
    (r"returned error: 429", ("the server asks to slow down (429)", "it is tried again later")),
    (r"returned error: 5\d\d", ("the server failed (5xx)", "it is tried again")),
    (r"not valid: is this a git repository|invalid server response|bad line length|protocol error", _HTML),
    (r"invalid service|unexpected .*Content-Type|smart HTTP", _HTML),
    ((r"early EOF|unexpected disconnect|RPC failed|hung up|unpack-objects|index-pack|transfer closed|"
     r"expected (flush|packet|acknowledg)|invalid.*pack|premature"), _CUT),
    ((r"failed to connect|connection (refused|reset|timed out)|couldn't connect|operation timed out|"
     r"operation too slow|unable to access|recv failure|empty reply"), _UNREACHABLE),
    (r"no space left", ("the agent's cache folder is full", "give --cache-dir more room")),
)  # fmt: skip
_CORRUPT = re.compile(
    r"not a git repository|object file .* is empty|loose object .* is corrupt|is corrupt|bad object|bad tree|"
    r"missing (blob|tree|commit)|unable to read (tree|sha1|object)|packfile .* (is far too short|cannot be)|"
    r"remove the file manually|cannot lock ref|\.lock': File exists|"
    r"did not send all necessary objects|broken|inflate|bad config|invalid index-pack|index-file",
    re.IGNORECASE,
)
_MISSING_REF = re.compile(
    r"couldn't find remote ref|not our ref|remote ref .* not found|not a valid object"
)


def is_missing_ref(result: GitResult) -> bool:
    """Tell whether the server has no such branch, tag or commit."""
    return _MISSING_REF.search(result.stderr) is not None


def is_corrupt(result: GitResult) -> bool:
    """Tell whether the mirror itself, rather than the server, may be what failed."""
    return not result.timed_out and _CORRUPT.search(result.stderr) is not None


def explain(repository: Repository, result: GitResult, *, deadline_s: float) -> SourceError:
    """Turn a failed git command into the error a person reads."""
    where = f"repository {show(repository.url)}: "
    if result.timed_out:
        return SourceError(
            f"{where}no complete answer within {deadline_s:g} s",
            hint="it is tried again; " + _UNREACHABLE[1],
        )
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    text = "\n".join(lines)
    for pattern, (message, hint) in _KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            return SourceError(f"{where}{message}", hint=hint)
    last = scrub(lines[-1])[:200] if lines else f"git ended with {result.code}"
    return SourceError(f"{where}{last}")


def missing_revision(repository: Repository, wanted: str, *, bare: bool) -> SourceError:
    """Say that the branch, tag or commit is not there; `bare`: the server shows no branch at all."""
    where = f"repository {show(repository.url)}: "
    if bare:
        return SourceError(
            f"{where}no commits on its default branch and no other branch: it is empty, "
            "or the server answered with a page instead of a git repository",
            hint=f"push a first commit; {_HTML[1]}",
        )
    return SourceError(
        f"{where}no branch, tag or commit {wanted[:80]!r}",
        hint="was it deleted or renamed? Put it back or change spec.source.targetRevision",
    )
