"""One spelling of a repository's address, so that two that mean the same compare equal.

https, ssh and scp-like forms, a trailing `.git` or slash, the case of host and path, userinfo and default ports make no
difference. The result is compared, never fetched.
"""

import re
from urllib.parse import unquote, urlsplit

_SCP = re.compile(r"(?:[^@/\s]+@)?(?P<host>[^:/\s]+):(?!//)(?P<path>[^\s].*)")
_DEFAULT_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}


def normalise(address: str) -> str:
    """Return `host[:port]/path` in lower case; an address that is none gives an empty string."""
    text = address.strip()
    if "://" not in text:
        scp = _SCP.fullmatch(text)
        if scp is None:
            return ""
        text = f"ssh://{scp['host']}/{scp['path'].lstrip('/')}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return ""
    host = (parts.hostname or "").lower()
    path = unquote(parts.path).strip("/").lower().removesuffix(".git").strip("/")
    if not host or not path:
        return ""
    # ssh and https of one forge differ in port; only a port that somebody chose for https says something.
    kept = port if port not in {None, _DEFAULT_PORTS.get(parts.scheme.lower())} else None
    if parts.scheme.lower() == "ssh":
        kept = None
    return f"{host}:{kept}/{path}" if kept else f"{host}/{path}"


def covers(folder: str, path: str) -> bool:
    """Tell whether `path` is `folder` or below it; `.` and an empty folder cover everything."""
    inside = folder.strip("/").removeprefix("./")
    if inside in {"", "."}:
        return True
    plain = path.strip("/").removeprefix("./")
    return plain == inside or plain.startswith(f"{inside}/")
