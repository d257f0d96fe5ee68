"""A person at the forge, for tests and the demo: the page's buttons and a push, by name."""

from collections.abc import Mapping
from typing import Any

from sandbox.forge.instance import Instance
from sandbox.forge.lifecycle import Draft, Lifecycle
from sandbox.forge.merging import Merging, Wish
from sandbox.forge.model import MergeRequest, Note, Project
from sandbox.forge.repository import Repository


class AsUser:
    """Each method is one act, refused (`Refusal`) where the API would refuse it."""

    def __init__(
        self,
        instance: Instance,
        lifecycle: Lifecycle,
        merging: Merging,
        username: str,
        project: Project,
    ) -> None:
        self._instance = instance
        self._lifecycle = lifecycle
        self._merging = merging
        self._user = instance.user_named(username)
        self._project = project

    def merge_request(self, iid: int) -> MergeRequest:
        return self._instance.merge_request(self._project, iid)

    def approve(self, iid: int, sha: str = "") -> None:
        with self._instance.lock:
            self._lifecycle.approve(self.merge_request(iid), self._user, sha)
            self._instance.save()

    def unapprove(self, iid: int) -> None:
        with self._instance.lock:
            self._lifecycle.unapprove(self.merge_request(iid), self._user)
            self._instance.save()

    def merge(self, iid: int, sha: str = "", *, squash: bool | None = None) -> str:
        """Merge; return the sha that landed."""
        with self._instance.lock:
            request = self.merge_request(iid)
            self._merging.merge(request, self._user, Wish(sha=sha, squash=squash))
            self._instance.save()
            return request.landed_sha or ""

    def close(self, iid: int) -> None:
        self.update(iid, state_event="close")

    def reopen(self, iid: int) -> None:
        self.update(iid, state_event="reopen")

    def update(self, iid: int, **wanted: Any) -> None:
        """Edit title, description, target_branch, labels or state_event."""
        with self._instance.lock:
            self._lifecycle.update(self.merge_request(iid), self._user, wanted)
            self._instance.save()

    def comment(self, iid: int, body: str) -> Note:
        with self._instance.lock:
            note = self._lifecycle.note(self.merge_request(iid), self._user, body)
            self._instance.save()
            return note

    def revert(self, iid: int) -> int:
        """Press Revert on a merged merge request; return the number of the one it opens."""
        with self._instance.lock:
            made = self._merging.open_revert(self.merge_request(iid), self._user)
            self._instance.save()
            return made.iid

    def push(
        self, branch: str, files: Mapping[str, str | bytes | None], message: str = "Edit"
    ) -> str:
        """Commit files to a branch (new ones start at the default branch); None removes. Return the sha."""
        edits = {
            path: None
            if content is None
            else ("100644", content.encode() if isinstance(content, str) else content)
            for path, content in files.items()
        }
        with self._instance.lock:
            sha = self._merging.commit_files(self._project, self._user, branch, edits, message)
            self._instance.save()
            return sha

    def force_push(self, branch: str, sha: str) -> None:
        """Move a branch to any commit the repository has."""
        with self._instance.lock:
            repository = Repository(self._instance.repository(self._project).directory)
            old = repository.branches()[branch]
            repository.move(f"refs/heads/{branch}", sha, old)
            self._merging.pushed(self._project, self._user, [(f"refs/heads/{branch}", old, sha)])
            self._instance.save()

    def open(self, source: str, title: str = "Change", target: str = "", **more: Any) -> int:
        """Open a merge request; return its number."""
        with self._instance.lock:
            draft = Draft(
                source_branch=source,
                target_branch=target or self._project.default_branch,
                title=title,
                **more,
            )
            made = self._lifecycle.open(self._project, self._user, draft)
            self._instance.save()
            return made.iid
