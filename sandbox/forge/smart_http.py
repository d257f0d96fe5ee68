"""Git over https through git's own CGI; the forge decides who may, git does the rest.

A push takes the instance's lock: what it moved is known before the client hears that it worked.
"""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from sandbox.forge.access import GIT_READS, GIT_WRITES, Caller, identify, level, open_project
from sandbox.forge.instance import Instance
from sandbox.forge.merging import Merging
from sandbox.forge.model import DEVELOPER, REPORTER, Project
from sandbox.forge.refusal import Refusal, forbidden
from sandbox.forge.repository import clean_environment
from sandbox.forge.wire import Reply

SERVICES = ("/info/refs", "/git-upload-pack", "/git-receive-pack", "/HEAD")
CHALLENGE = {"www-authenticate": 'Basic realm="GitLab"'}
DENIED = (
    "HTTP Basic: Access denied. If a password was provided for Git authentication, the password was "
    "incorrect or you're required to use a token instead of a password."
)


def split(raw_path: str) -> tuple[str, str] | None:
    """Return (project path, service) of a git request, or None for any other address."""
    path = unquote(raw_path)
    for service in SERVICES:
        if path.endswith(service):
            return path[1 : -len(service)].removesuffix(".git"), service
    return None


def serve(
    instance: Instance,
    merging: Merging,
    target: tuple[str, str, str],
    headers: Mapping[str, str],
    body: bytes,
) -> tuple[Reply, Caller | None]:
    """Answer a git request; `target` is (method, raw path, query)."""
    method, raw_path, query = target
    name, service = split(raw_path) or ("", "")
    writes = "git-receive-pack" in (service + query)
    try:
        caller = identify(instance, headers)
    except Refusal as refusal:
        return _plain(401, DENIED if refusal.status == 401 else str(refusal), CHALLENGE), None
    try:
        project = _admit(instance, caller, name, writes=writes)
    except Refusal as refusal:
        return _plain(refusal.status, str(refusal)), caller
    environment = _environment(project, service, query, headers) | {"REQUEST_METHOD": method}
    environment["GIT_PROJECT_ROOT"] = str(instance.root / "repositories")
    environment["REMOTE_USER"] = caller.user.username
    if service != "/git-receive-pack":
        return _run(environment, body), caller
    with instance.lock:
        return _receive(instance, merging, (project, caller), environment, body), caller


def _plain(status: int, text: str, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(
        status=status, body=text.encode(), headers=headers or {}, content_type="text/plain"
    )


def _admit(instance: Instance, caller: Caller, name: str, *, writes: bool) -> Project:
    try:
        project = open_project(instance, caller, name)
    except Refusal:
        text = "The project you were looking for could not be found or you don't have permission to view it."
        raise Refusal(404, text) from None
    scopes = set(caller.token.scopes) if caller.token else set()
    if level(project, caller.user) < REPORTER or not scopes & GIT_READS:
        raise forbidden("You are not allowed to download code from this project.")
    if writes and (level(project, caller.user) < DEVELOPER or not scopes & GIT_WRITES):
        raise forbidden("You are not allowed to push code to this project.")
    if writes and project.archived:
        raise forbidden("You can't push code to a read-only GitLab project.")
    return project


def _environment(
    project: Project, service: str, query: str, headers: Mapping[str, str]
) -> dict[str, str]:
    return clean_environment() | {
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{project.path}.git{service}",
        "QUERY_STRING": query,
        "CONTENT_TYPE": headers.get("content-type", ""),
        "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
        "GIT_PROTOCOL": headers.get("git-protocol", ""),
        "REMOTE_ADDR": "127.0.0.1",
    }


def _run(environment: Mapping[str, str], body: bytes) -> Reply:
    done = subprocess.run(
        ["git", "http-backend"],
        input=body,
        capture_output=True,
        check=False,
        env=dict(environment) | {"CONTENT_LENGTH": str(len(body))},
    )
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    headers = {}
    status = 200 if head else 500
    for line in head.decode("latin-1").split("\r\n"):
        key, _, value = line.partition(": ")
        if key.lower() == "status":
            status = int(value.split()[0])
        elif key:
            headers[key.lower()] = value
    content_type = headers.pop("content-type", "text/plain")
    return Reply(status=status, body=content, headers=headers, content_type=content_type)


def _receive(
    instance: Instance,
    merging: Merging,
    who: tuple[Project, Caller],
    environment: dict[str, str],
    body: bytes,
) -> Reply:
    project, caller = who
    denied = [
        rule.name
        for rule in project.protections
        if not 0 < rule.push_level <= level(project, caller.user)
    ]
    # A denied pattern closes a branch only where no other rule of that branch opens it.
    closed = [name for name in denied if not instance.may(project, caller.user, name, "push")]
    unforced = [rule.name for rule in project.protections if not rule.allow_force_push]
    with tempfile.TemporaryDirectory(prefix="push-", dir=instance.root) as folder:
        pushed = Path(folder) / "pushed"
        environment |= {
            "FORGE_DENIED": " ".join(closed),
            "FORGE_UNFORCED": " ".join(unforced),
            "FORGE_PUSHED": str(pushed),
        }
        reply = _run(environment, body)
        lines = pushed.read_text(encoding="utf-8").splitlines() if pushed.exists() else []
    moves = [(ref, old, new) for old, new, ref in (line.split(" ", 2) for line in lines)]
    if moves:
        merging.pushed(project, caller.user, moves)
        instance.save()
    return reply
