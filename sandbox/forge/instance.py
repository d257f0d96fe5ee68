"""One forge: its state, its repositories, its addresses, and what everything else looks up in it.

`lock` is held for each API call, so that a call sees and leaves a whole state; a change ends with `save`.
"""

import fnmatch
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from sandbox.forge.model import (
    DEVELOPER,
    MergeRequest,
    Note,
    Project,
    Protection,
    State,
    Token,
    User,
)
from sandbox.forge.refusal import not_found
from sandbox.forge.repository import Conflict, Person, Repository

Listener = Callable[[Project, str, dict[str, Any]], None]


class Instance:
    """The forge's memory. `emit(project, event, payload)` reaches the webhooks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.RLock()
        self.url = ""
        self.pages_url = ""
        self.emit: Listener = _nobody_listens
        self._file = root / "state.json"
        self.restored = self._file.exists()
        self.state = (
            msgspec.json.decode(self._file.read_bytes(), type=State) if self.restored else State()
        )
        self._merge_checks: dict[tuple[str, str], bool] = {}

    def save(self) -> None:
        """Write the state beside the old one and swap: a kill leaves one or the other."""
        new = self._file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_bytes(msgspec.json.encode(self.state))
        new.replace(self._file)

    # --- addresses ---

    def project_url(self, project: Project) -> str:
        return f"{self.pages_url}/{project.path}"

    def merge_request_url(self, merge_request: MergeRequest) -> str:
        project = self.project(merge_request.project_id)
        return f"{self.project_url(project)}/-/merge_requests/{merge_request.iid}"

    def commit_url(self, project: Project, sha: str) -> str:
        return f"{self.project_url(project)}/-/commit/{sha}"

    def tree_url(self, project: Project, branch: str) -> str:
        return f"{self.project_url(project)}/-/tree/{quote(branch)}"

    def clone_url(self, project: Project) -> str:
        return f"{self.url}/{project.path}.git"

    # --- people ---

    def user(self, user_id: int) -> User:
        return self.state.users[user_id - 1]

    def find_user(self, username: str) -> User | None:
        wanted = username.lower()
        return next((u for u in self.state.users if u.username.lower() == wanted), None)

    def user_named(self, username: str) -> User:
        user = self.find_user(username)
        if user is None:
            raise not_found("User")
        return user

    def find_token(self, secret: str) -> Token | None:
        return next((t for t in self.state.tokens if t.secret == secret), None)

    def person(self, user: User) -> Person:
        return Person(name=user.name, email=user.email)

    # --- projects ---

    def project(self, project_id: int) -> Project:
        return self.state.projects[project_id - 1]

    def find_project(self, name: str) -> Project | None:
        """Find a project by id or path; GitLab ignores the case of a path."""
        if name.isdigit():
            return next((p for p in self.state.projects if p.id == int(name)), None)
        return next((p for p in self.state.projects if p.path.lower() == name.lower()), None)

    def repository(self, project: Project) -> Repository:
        return Repository(self.root / "repositories" / f"{project.path}.git")

    def protection(self, project: Project, branch: str) -> list[Protection]:
        return [p for p in project.protections if fnmatch.fnmatchcase(branch, p.name)]

    def may(self, project: Project, user: User, branch: str, what: str) -> bool:
        """Say whether a user may `push` to or `merge` into a branch (most permissive rule wins)."""
        level = project.members.get(user.id, 0)
        if user.state != "active" or level < DEVELOPER or project.archived:
            return False
        rules = self.protection(project, branch)
        if not rules:
            return True
        needed = [rule.push_level if what == "push" else rule.merge_level for rule in rules]
        return any(0 < wanted <= level for wanted in needed)

    # --- merge requests ---

    def merge_requests(self, project: Project) -> list[MergeRequest]:
        return [m for m in self.state.merge_requests if m.project_id == project.id]

    def merge_request(self, project: Project, iid: int) -> MergeRequest:
        for merge_request in self.state.merge_requests:
            if merge_request.project_id == project.id and merge_request.iid == iid:
                return merge_request
        raise not_found("Merge Request")

    def notes(self, merge_request: MergeRequest) -> list[Note]:
        return [n for n in self.state.notes if n.merge_request_id == merge_request.id]

    def has_conflicts(self, project: Project, ours: str, theirs: str) -> bool:
        """Say whether two commits conflict, asked of git once per pair."""
        if (ours, theirs) not in self._merge_checks:
            try:
                self.repository(project).merged_tree(ours, theirs)
                self._merge_checks[ours, theirs] = False
            except Conflict:
                self._merge_checks[ours, theirs] = True
        return self._merge_checks[ours, theirs]


def _nobody_listens(project: Project, event: str, payload: dict[str, Any]) -> None:
    """Before the webhooks are attached an event has nowhere to go."""
