"""What the command line takes from the environment of a CI job; the only place that knows CI variables by name."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ci_bot.core.branches import Origin
from ci_bot.errors import UsageError
from ci_bot.forges.registry import ForgeSettings


def find_forge_url(environ: Mapping[str, str]) -> str:
    """Return the forge's address: ours, else what the CI says about itself."""
    if url := environ.get("LOCKGATE_FORGE_URL") or environ.get("CI_SERVER_URL"):
        return url.rstrip("/")
    api = environ.get("CI_API_V4_URL", "")
    return api.removesuffix("/").removesuffix("/api/v4")


def forge_url(given: str, environ: Mapping[str, str]) -> str:
    """Return the forge's address or say how to give it."""
    url = (given or find_forge_url(environ)).rstrip("/").removesuffix("/api/v4")
    if not url:
        raise UsageError(
            "the forge's address is not known: --forge-url or LOCKGATE_FORGE_URL is missing",
            hint="in GitLab CI it comes from CI_SERVER_URL",
        )
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        raise UsageError(
            f"--forge-url {parts.scheme}://{parts.hostname or ''} is not an https address without a user",
            hint="write https://gitlab.example (a sub-path is fine)",
        )
    return url


def token(token_file: Path | None, environ: Mapping[str, str]) -> str:
    """Return the token from a file or LOCKGATE_TOKEN; never from an argument, which `ps` shows."""
    if token_file is not None:
        try:
            text = token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as err:
            raise UsageError(f"--token-file {token_file} cannot be read") from err
    else:
        text = environ.get("LOCKGATE_TOKEN", "").strip()
    if not text:
        raise UsageError(
            "LOCKGATE_TOKEN is not set"
            + (": a pipeline of a fork gets no token" if from_fork(environ) else ""),
            hint="bump from a pipeline of the project itself"
            if from_fork(environ)
            else "set LOCKGATE_TOKEN (a masked CI variable; protected ones reach protected branches only) "
            "or give --token-file",
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(
            "the token holds characters no forge issues; check for quotes or line breaks"
        )
    return text


def from_fork(environ: Mapping[str, str]) -> bool:
    """Return whether the pipeline runs for a fork's merge request."""
    source = environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH", "")
    target = environ.get("CI_MERGE_REQUEST_PROJECT_PATH", "") or environ.get("CI_PROJECT_PATH", "")
    return bool(source and target and source != target)


def origin(environ: Mapping[str, str]) -> Origin:
    """Return which pipeline this is. The number must only grow within one source project."""
    source = (
        environ.get("LOCKGATE_SOURCE")
        or environ.get("CI_PROJECT_PATH")
        or environ.get("GITHUB_REPOSITORY", "")
    )
    number = (
        environ.get("LOCKGATE_PIPELINE")
        or environ.get("CI_PIPELINE_ID")
        or environ.get("GITHUB_RUN_ID", "")
    )
    if number and not (number.isascii() and number.isdecimal()):
        raise UsageError(f"the pipeline number {number[:40]!r} is not a number")
    url = environ.get("CI_PIPELINE_URL", "")
    if not url and environ.get("GITHUB_RUN_ID") and environ.get("GITHUB_SERVER_URL"):
        url = f"{environ['GITHUB_SERVER_URL']}/{source}/actions/runs/{environ['GITHUB_RUN_ID']}"
    one_line = source if source.isprintable() else ""
    return Origin(source=one_line, pipeline=int(number) if number else None, url=url)


def ca_file(given: Path | None, environ: Mapping[str, str]) -> str:
    """Return the file of certificates to trust, or nothing for the system's."""
    path = str(given) if given is not None else environ.get("SSL_CERT_FILE", "")
    if path and not Path(path).is_file():
        name = "--ca-file" if given is not None else "SSL_CERT_FILE"
        raise UsageError(f"{name} {path} is not a file")
    return path


def git_url(settings: ForgeSettings) -> str:
    """Return the config repository's address for git."""
    return f"{settings.url}/{settings.project}.git"
