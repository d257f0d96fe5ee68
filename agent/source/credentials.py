"""Read-only git credentials: one line each, used for one host and path prefix only.

The file has the form of git's own credential store: `https://user:token@host/prefix`. A repoURL that somebody points
at another host, or at another group on the same host, never makes the agent send one.
"""

import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent.core.repositories import Repository
from agent.errors import ConfigError, SourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A user and a token for everything below one prefix of one host."""

    host: str  # lower case, with the port unless it is 443
    prefix: str  # "/group", or "" for the whole host
    user: str
    password: str = field(repr=False)

    def fits(self, repository: Repository) -> bool:
        """Tell whether the repository is below this credential's prefix; whole path segments count."""
        if repository.scheme != "https" or repository.host != self.host:
            return False
        return not self.prefix or (repository.path + "/").startswith(self.prefix + "/")


def parse_credentials(text: str, *, name: str = "--git-credential") -> tuple[Credential, ...]:
    """Parse a credential file; errors name the line, never its content."""
    found = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if line and not line.startswith("#"):
            found.append(_parse_line(line, f"{name}: line {number}"))
    return tuple(found)


def _parse_line(line: str, where: str) -> Credential:
    try:
        parts = urlsplit(line)
        port, host = parts.port, (parts.hostname or "").lower()
    except ValueError:
        raise ConfigError(f"{where}: not an address", hint=_FORM) from None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme != "https" or not host or not user or not password:
        raise ConfigError(f"{where}: not of the form {_FORM}", hint=_FORM)
    if any(ord(char) < 32 or ord(char) == 127 for char in user + password):
        raise ConfigError(f"{where}: user or token has control characters", hint=_FORM)
    prefix = parts.path.rstrip("/").removesuffix(".git")
    return Credential(
        host=host if port in {None, 443} else f"{host}:{port}",
        prefix=prefix,
        user=user,
        password=password,
    )


_FORM = "https://user:token@host/group"


class CredentialFile:
    """The credentials of `--git-credential`, read again when the file changes (a mounted Secret is rotated)."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._credentials: tuple[Credential, ...] = ()

    def load(self) -> Sequence[Credential]:
        """Return the credentials as the file has them now; raises `ConfigError` or `SourceError`."""
        if self._path is None:
            return ()
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_ino)
            if version != self._seen:
                text = self._path.read_text(encoding="utf-8")
                self._credentials = parse_credentials(text, name=str(self._path))
                self._seen = version
        except (OSError, UnicodeDecodeError) as err:
            raise SourceError(
                f"--git-credential {self._path}: cannot be read ({type(err).__name__})",
                hint="check that the file is mounted and readable by the agent",
            ) from err
        return self._credentials

    def find(self, repository: Repository) -> Credential | None:
        """Return the credential with the longest fitting prefix, or None (anonymous)."""
        fitting = [c for c in self.load() if c.fits(repository)]
        return max(fitting, key=lambda c: len(c.prefix), default=None)

    def open_to_others(self) -> str:
        """Return a warning if people other than owner and group can read or change the file, else ''."""
        if self._path is None:
            return ""
        mode = stat.S_IMODE(self._path.stat().st_mode)
        if mode & 0o027:
            return f"--git-credential {self._path} has mode {mode:04o}; use 0640 or less"
        return ""
