"""Who is asking, and what they may: tokens, scopes, roles, with GitLab's answers where not."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.forge.instance import Instance
from sandbox.forge.model import REPORTER, Project, Token, User
from sandbox.forge.refusal import Refusal, forbidden, not_found, unauthorized

READS = {"api", "read_api"}
GIT_READS = {"api", "read_repository", "write_repository"}
GIT_WRITES = {"api", "write_repository"}
FILE_READS = READS | {"read_repository"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    user: User
    token: Token | None  # None: a person on the pages


def secret_of(headers: Mapping[str, str]) -> str:
    """Return the token of a request: GitLab's own header, a bearer, or basic auth's password."""
    private = headers.get("private-token", "")
    if private:
        return private
    scheme, _, value = headers.get("authorization", "").partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip()
        case "basic":
            try:
                return base64.b64decode(value).decode().partition(":")[2]
            except ValueError:
                return ""
        case _:
            return ""


def identify(instance: Instance, headers: Mapping[str, str]) -> Caller:
    """Return the caller, or refuse as GitLab does: unknown, revoked, expired, blocked."""
    token = instance.find_token(secret_of(headers))
    if token is None:
        raise unauthorized()
    if token.revoked:
        raise _invalid("Token was revoked. You have to re-authorize from the user.")
    if token.expires_at and token.expires_at <= datetime.now(UTC).date().isoformat():
        raise _invalid("Token is expired. You can either do re-authorization or token refresh.")
    user = instance.user(token.user_id)
    if user.state != "active":
        raise forbidden("403 Forbidden - Your account has been blocked.")
    return Caller(user=user, token=token)


def _invalid(why: str) -> Refusal:
    return Refusal(401, why, {"error": "invalid_token", "error_description": why})


def require_scope(caller: Caller, scopes: set[str]) -> None:
    if caller.token is None or scopes.intersection(caller.token.scopes):
        return
    wanted = "api" if scopes == {"api"} else " ".join(sorted(scopes))
    why = "The request requires higher privileges than provided by the access token."
    body = {"error": "insufficient_scope", "error_description": why, "scope": wanted}
    raise Refusal(403, why, body)


def open_project(instance: Instance, caller: Caller, name: str) -> Project:
    """Return a project the caller can see; a private one does not exist for others."""
    project = instance.find_project(name)
    if project is None or level(project, caller.user) == 0:
        raise not_found("Project")
    if caller.token is not None and caller.token.project_id not in {None, project.id}:
        raise not_found("Project")
    return project


def level(project: Project, user: User) -> int:
    return project.members.get(user.id, 0)


def require_level(project: Project, caller: Caller, wanted: int = REPORTER) -> None:
    if level(project, caller.user) < wanted:
        raise forbidden()
