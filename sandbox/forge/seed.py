"""What the forge starts with.

Seed file (JSON), every part optional but `users` and `projects`:

    {
      "users":    [{"username": "junior", "name": "June Junior", "role": "developer",
                    "email": "junior@example.com", "bot": false}],
      "tokens":   [{"username": "junior", "name": "laptop", "scopes": ["api"],
                    "value": "glpat-…", "expires_at": "2027-01-01", "project": "group/config"}],
      "projects": [{"path": "group/config", "default_branch": "main",
                    "files": {"dev/app.yaml": "text"}, "files_dir": "folder",
                    "merge_method": "merge | rebase_merge | ff",
                    "squash_option": "never | default_off | default_on | always",
                    "members": {"junior": "developer"},
                    "hooks": [{"url": "http://…", "token": "secret",
                               "events": ["push", "merge_requests", "note"]}]}]
    }

`role` is a user's role in every project that names no `members`: guest, reporter, developer, maintainer. A user
without a token gets one with scope `api`; a token without `value` gets a random one. Secrets end up in `forge.json`
(mode 0600), by username; the first token of a user is the one it is known by. The default branch is protected:
nobody pushes, maintainers merge. `files_dir` is relative to the seed file.
"""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.forge.instance import Instance
from sandbox.forge.model import MAINTAINER, NOBODY, ROLES, Hook, Project, Protection, Token, User
from sandbox.forge.repository import Person

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: myapp
spec:
  selector:
    matchLabels:
      app: myapp
  replicas: 2
  template:
    metadata:
      labels:
        app: myapp
    spec:
      containers:
      - name: myapp
        image: nanajanashia/argocd-app:1.0
        ports:
        - containerPort: 8080
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: myapp-service
spec:
  selector:
    app: myapp
  ports:
  - port: 8080
    protocol: TCP
    targetPort: 8080
"""
LOCKGATE = """\
# Which folder is which environment, and who may report what became of a change.
environments:
  dev:
    path: dev
    tier: development
    branch: main
reporters:
- lockgate-hub
approvals: 1
"""
PROJECT = "group/config"
BOT, HUB, AGENT = "lockgate-bot", "lockgate-hub", "lockgate-agent"

DEFAULT: dict[str, Any] = {
    "users": [
        {"username": "junior", "name": "June Miller", "role": "developer"},
        {"username": "senior", "name": "Sam Ortiz", "role": "maintainer"},
        {"username": BOT, "name": "Lockgate bot", "role": "developer", "bot": True},
        {"username": HUB, "name": "Lockgate hub", "role": "developer", "bot": True},
        {"username": AGENT, "name": "Lockgate agent", "role": "reporter", "bot": True},
    ],
    "tokens": [{"username": AGENT, "name": "cluster", "scopes": ["read_repository"]}],
    "projects": [
        {
            "path": PROJECT,
            "files": {
                ".lockgate.yaml": LOCKGATE,
                "dev/deployment.yaml": DEPLOYMENT,
                "dev/service.yaml": SERVICE,
            },
        }
    ],
}


def load(path: Path) -> dict[str, Any]:
    """Read a seed file and the folders it names."""
    try:
        seed: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path}: not a seed file: {error}") from error
    for project in seed.get("projects", []):
        if "files_dir" in project:
            project["files_dir"] = str(path.parent / project["files_dir"])
    return seed


def plant(instance: Instance, seed: Mapping[str, Any]) -> None:
    """Fill an empty instance."""
    state = instance.state
    for wanted in seed["users"]:
        state.users.append(
            User(
                id=state.next_id("user"),
                username=wanted["username"],
                name=wanted.get("name", wanted["username"]),
                email=wanted.get("email", f"{wanted['username']}@example.com"),
                bot=wanted.get("bot", False),
            )
        )
    for wanted in seed["projects"]:
        _plant_project(instance, seed, wanted)
    for wanted in seed.get("tokens", []):
        _plant_token(instance, wanted)
    served = {token.user_id for token in state.tokens}
    for user in state.users:
        if user.id not in served:
            _plant_token(instance, {"username": user.username})
    instance.save()


def _plant_token(instance: Instance, wanted: Mapping[str, Any]) -> None:
    project = instance.find_project(wanted["project"]) if "project" in wanted else None
    instance.state.tokens.append(
        Token(
            id=instance.state.next_id("token"),
            name=wanted.get("name", "token"),
            secret=wanted.get("value") or f"glpat-{secrets.token_hex(16)}",
            user_id=instance.user_named(wanted["username"]).id,
            scopes=list(wanted.get("scopes", ["api"])),
            expires_at=wanted.get("expires_at"),
            project_id=project.id if project else None,
        )
    )


def _plant_project(instance: Instance, seed: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    branch = wanted.get("default_branch", "main")
    roles = wanted.get("members") or {
        u["username"]: u["role"] for u in seed["users"] if "role" in u
    }
    project = Project(
        id=instance.state.next_id("project"),
        path=wanted["path"],
        default_branch=branch,
        merge_method=wanted.get("merge_method", "merge"),
        squash_option=wanted.get("squash_option", "default_off"),
        description=wanted.get("description", ""),
        members={instance.user_named(name).id: ROLES[role] for name, role in roles.items()},
        protections=[
            Protection(
                id=instance.state.next_id("protection"),
                name=branch,
                push_level=NOBODY,
                merge_level=MAINTAINER,
            )
        ],
    )
    instance.state.projects.append(project)
    files = {path: text.encode() for path, text in wanted.get("files", {}).items()}
    if "files_dir" in wanted:
        files |= _read_folder(Path(wanted["files_dir"]))
    owner = instance.user(next(iter(project.members))) if project.members else instance.user(1)
    author = Person(name=owner.name, email=owner.email)
    instance.repository(project).create(branch, files, author)
    for hook in wanted.get("hooks", []):
        _plant_hook(instance, project, hook)


def _read_folder(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise SystemExit(f"files_dir: {folder} is not a folder")
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and ".git" not in file.relative_to(folder).parts
    }


def _plant_hook(instance: Instance, project: Project, wanted: Mapping[str, Any]) -> None:
    events = wanted.get("events", ["push", "merge_requests", "note"])
    instance.state.hooks.append(
        Hook(
            id=instance.state.next_id("hook"),
            project_id=project.id,
            url=wanted["url"],
            token=wanted.get("token", ""),
            events={f"{event}_events": True for event in events},
        )
    )
