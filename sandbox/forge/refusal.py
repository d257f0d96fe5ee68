"""How the forge says no: GitLab's status and wording, whether it goes out as JSON or onto a page."""

from typing import Any


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """An answer other than success; `body` is what GitLab's API would send."""

    def __init__(self, status: int, message: str, body: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body if body is not None else {"message": message}


def unauthorized(message: str = "401 Unauthorized") -> Refusal:
    return Refusal(401, message)


def forbidden(message: str = "403 Forbidden") -> Refusal:
    return Refusal(403, message)


def not_found(what: str) -> Refusal:
    return Refusal(404, f"404 {what} Not Found")


def bad_request(message: str) -> Refusal:
    return Refusal(400, message)


def missing(parameter: str) -> Refusal:
    """GitLab's wording for a parameter that is required (Grape)."""
    return Refusal(400, parameter, {"error": f"{parameter} is missing"})


def invalid(parameter: str) -> Refusal:
    return Refusal(400, parameter, {"error": f"{parameter} does not have a valid value"})
