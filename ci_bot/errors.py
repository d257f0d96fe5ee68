"""Errors of the bot and the hub.

Expected answers are values (verdicts, outcomes). An exception here is something a caller could not foresee;
it carries what a person needs next: a stable CamelCase `reason`, a message that says what is wrong and where,
and a `hint` that says what to do. The command line catches `CiBotError` once and maps it to an exit code.
"""

from typing import ClassVar

DONE, FAILED, USAGE, WAITING, REFUSED, TIMED_OUT = range(6)


class CiBotError(Exception):
    """Root of everything the bot raises on purpose."""

    reason: ClassVar[str] = "Failed"
    exit_code: ClassVar[int] = FAILED
    retry: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(CiBotError):
    """The command line, the environment or a configuration file asks for something that cannot be."""

    reason = "Usage"
    exit_code = USAGE


class ConfigError(UsageError):
    """A configuration file is wrong; the message starts with file:line."""

    reason = "ConfigInvalid"


class ManifestError(CiBotError):
    """A file of the config repo cannot be read or edited safely; the message starts with file:line."""

    reason = "ManifestInvalid"


class GitError(CiBotError):
    """git answered with an error that a repeat will not mend."""

    reason = "GitFailed"


class GitTimeoutError(GitError):
    """git did not answer within its deadline."""

    reason = "GitTimeout"
    retry = True


class PushRacedError(GitError):
    """Somebody pushed meanwhile; derive the edit again on the fresh tip."""

    reason = "PushRaced"
    retry = True


class ForeignCommitError(GitError):
    """The rolling branch carries a commit that is not ours; it is never overwritten."""

    reason = "ForeignCommit"
    exit_code = REFUSED


class ForgeError(CiBotError):
    """The forge answered with an error that a repeat will not mend."""

    reason = "ForgeFailed"


class ForgeAuthError(ForgeError):
    """The token is missing, expired, revoked or lacks a scope."""

    reason = "ForgeAuth"
    exit_code = USAGE


class ForgeForbiddenError(ForgeAuthError):
    """The token is good, and its user may not do this here."""

    reason = "ForgeForbidden"


class ForgeNotFoundError(ForgeError):
    """The project, merge request or commit is not there, or the token may not see it."""

    reason = "ForgeNotFound"


class ForgeUnavailableError(ForgeError):
    """The forge is down, slow, rate-limiting or answering nonsense; worth another try later."""

    reason = "ForgeUnavailable"
    retry = True

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class ForgeTimeoutError(ForgeUnavailableError):
    """The forge took the request and did not answer in time: the write may have happened."""

    reason = "ForgeTimeout"
