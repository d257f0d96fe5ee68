"""What may be given to git as an address or a ref.

git runs programs for some addresses (`ext::`, `--upload-pack=…`), so an address is allowed by its scheme and its
characters, not refused by a list of bad ones.
"""

import re

from ci_bot.core.branches import branch_problem
from ci_bot.errors import UsageError

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
_PATH = r"/[A-Za-z0-9._~/+@-]*"
_HTTPS = re.compile(rf"https://{_HOST}{_PATH}", re.ASCII)
_SSH = re.compile(rf"ssh://(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?{_HOST}{_PATH}", re.ASCII)
_FILE = re.compile(r"file:///[^\x00-\x1f\x7f%]*")


def check_url(url: str, *, allow_file: bool = False) -> str:
    """Return the address, or raise `UsageError`: https and ssh only, no password, no escape, no option."""
    allowed = _HTTPS.fullmatch(url) or _SSH.fullmatch(url) or (allow_file and _FILE.fullmatch(url))
    if not allowed or "/../" in f"{url}/":
        shown = re.sub(r"//[^/@]*@", "//…@", url)[:120]
        raise UsageError(
            f"{shown!r} is not an address git may be given",
            hint="use https://host/group/project.git, without user, password or escapes",
        )
    return url


def check_branch(name: str) -> str:
    """Return the branch, or raise `UsageError`."""
    if problem := branch_problem(name):
        raise UsageError(f"branch {name[:80]!r} {problem}")
    return name


def with_user(url: str, user: str) -> str:
    """Return an https address that names the user; the password goes another way."""
    return url.replace("https://", f"https://{user}@", 1) if user else url


_USERINFO = re.compile(r"(https?://)[^/@\s]*@")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def scrub(text: str, secret: str = "") -> str:
    """Return git's words without the token, userinfo and control characters, shortened."""
    if secret:
        text = text.replace(secret, "[secret]")
    return _UNPRINTABLE.sub("", _USERINFO.sub(r"\1", text)).strip()[:600]
