"""Errors of the agent.

Each carries a stable CamelCase `reason` (condition, log field, metric label), whether a retry can help, and a
`hint` for the reader. Messages reach conditions and the hub: they never carry Secret data or credentials.
"""

from typing import ClassVar


class AgentError(Exception):
    """Root of everything the agent raises on purpose."""

    reason: ClassVar[str] = "Failed"
    retry: ClassVar[bool] = True
    condition: ClassVar[str] = "UnknownError"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(AgentError):
    """The agent's own options are wrong; it does not start."""

    reason = "ConfigInvalid"
    retry = False


class InvalidSpecError(AgentError):
    """The Application asks for something that is wrong or not supported; the message names the field."""

    reason = "InvalidSpec"
    retry = False
    condition = "InvalidSpecError"


class SourceError(AgentError):
    """The repository cannot be fetched, or the revision or path is not there."""

    reason = "SourceFailed"
    condition = "ComparisonError"


class SourceRefusedError(SourceError):
    """The repository is refused: scheme, characters, or a credential that could push."""

    reason = "SourceRefused"
    retry = False


class RenderError(AgentError):
    """The desired state cannot be made from the tree; the message starts with file:line."""

    reason = "RenderFailed"
    retry = False
    condition = "ComparisonError"


class ClusterError(AgentError):
    """The API server answered with an error; `status` is the HTTP code."""

    reason = "ClusterFailed"
    condition = "SyncError"

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        hint: str = "",
        fields: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code  # the Status object's `reason`: Conflict, Forbidden, Invalid …
        self.fields = fields  # what the server refused: `spec.strategy.rollingUpdate`


class ClusterUnavailableError(ClusterError):
    """The API server cannot be reached or asks to slow down."""

    reason = "ClusterUnavailable"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
