"""The life of a merge request: opened, pushed to, edited, approved, closed.

Each step leaves GitLab's system note, keeps the versions, and emits the webhook GitLab would. As on GitLab Free
(D26) a push resets no approval.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.forge import payloads
from sandbox.forge.access import level
from sandbox.forge.instance import Instance
from sandbox.forge.model import (
    DEVELOPER,
    Approval,
    MergeRequest,
    Note,
    Project,
    StateEvent,
    User,
    Version,
    now,
)
from sandbox.forge.refusal import Refusal, bad_request, forbidden, not_found, unauthorized
from sandbox.forge.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A merge request to open."""

    source_branch: str
    target_branch: str
    title: str
    description: str = ""
    labels: tuple[str, ...] = ()
    squash: bool = False
    remove_source_branch: bool | None = None


@dataclass(frozen=True, slots=True)
class Lifecycle:
    instance: Instance

    def open(self, project: Project, user: User, draft: Draft) -> MergeRequest:
        """Open a merge request; 409 where an open one has this source and target already."""
        if level(project, user) < DEVELOPER or project.archived:
            raise forbidden()
        repository = self.instance.repository(project)
        for existing in self.instance.merge_requests(project):
            same = existing.source_branch == draft.source_branch
            if (
                same
                and existing.target_branch == draft.target_branch
                and existing.state == "opened"
            ):
                taken = (
                    "Another open merge request already exists for this source branch: "
                    f"!{existing.iid}"
                )
                raise Refusal(409, taken, {"message": [taken]})
        branches = repository.branches()
        for branch, side in ((draft.source_branch, "Source"), (draft.target_branch, "Target")):
            if branch not in branches:
                raise bad_request(f'{side} branch "{branch}" does not exist')
        if draft.source_branch == draft.target_branch:
            raise bad_request("You can't use same project/branch for source and target")
        if not draft.title.strip():
            raise bad_request("Title can't be blank")
        merge_request = MergeRequest(
            id=self.instance.state.next_id("merge_request"),
            iid=len(self.instance.merge_requests(project)) + 1,
            project_id=project.id,
            title=draft.title,
            description=draft.description,
            source_branch=draft.source_branch,
            target_branch=draft.target_branch,
            author_id=user.id,
            labels=list(draft.labels),
            squash=draft.squash or project.squash_option in {"always", "default_on"},
            remove_source_branch=draft.remove_source_branch,
        )
        self.instance.state.merge_requests.append(merge_request)
        self._add_version(repository, merge_request, branches[draft.source_branch])
        self.announce(merge_request, user, "open")
        return merge_request

    def update(self, merge_request: MergeRequest, user: User, wanted: Mapping[str, Any]) -> None:
        """Change title, description, target, labels, squash or state, each with its system note."""
        project = self.instance.project(merge_request.project_id)
        if level(project, user) < DEVELOPER and merge_request.author_id != user.id:
            raise forbidden()
        changes: dict[str, Any] = {}
        for name in ("title", "description", "target_branch", "labels", "squash"):
            old = getattr(merge_request, name)
            if name in wanted and wanted[name] != old:
                setattr(merge_request, name, wanted[name])
                changes[name] = {"previous": old, "current": wanted[name]}
        if "remove_source_branch" in wanted:
            merge_request.remove_source_branch = wanted["remove_source_branch"]
        self._note_changes(merge_request, user, changes)
        if "target_branch" in changes:
            self._add_version(self.instance.repository(project), merge_request, merge_request.sha)
        if changes:
            merge_request.updated_at = now()
            self.announce(merge_request, user, "update", changes=changes)
        match wanted.get("state_event"):
            case "close":
                self.close(merge_request, user)
            case "reopen":
                self.reopen(merge_request, user)

    def _note_changes(
        self, merge_request: MergeRequest, user: User, changes: dict[str, Any]
    ) -> None:
        if "title" in changes:
            old, new = changes["title"]["previous"], changes["title"]["current"]
            self.note(
                merge_request, user, f"changed title from **{old}** to **{new}**", system=True
            )
        if "description" in changes:
            self.note(merge_request, user, "changed the description", system=True)
        if "target_branch" in changes:
            old, new = changes["target_branch"]["previous"], changes["target_branch"]["current"]
            text = f"changed target branch from `{old}` to `{new}`"
            self.note(merge_request, user, text, system=True)

    def close(self, merge_request: MergeRequest, user: User) -> None:
        if merge_request.state != "opened":
            return
        self.set_state(merge_request, user, "closed")
        merge_request.closed_at, merge_request.closed_by_id = now(), user.id
        self.announce(merge_request, user, "close")

    def reopen(self, merge_request: MergeRequest, user: User) -> None:
        if merge_request.state != "closed":
            return
        self.set_state(merge_request, user, "reopened")
        merge_request.state = "opened"
        merge_request.closed_at = merge_request.closed_by_id = None
        self.announce(merge_request, user, "reopen")

    def set_state(self, merge_request: MergeRequest, user: User, state: str) -> None:
        merge_request.state = state
        merge_request.updated_at = now()
        event = StateEvent(
            id=self.instance.state.next_id("state_event"), user_id=user.id, state=state
        )
        merge_request.events.append(event)

    def approve(self, merge_request: MergeRequest, user: User, sha: str = "") -> None:
        """Approve; with `sha` only where it is still the head (409), once per user (401)."""
        project = self.instance.project(merge_request.project_id)
        approved = any(a.user_id == user.id for a in merge_request.approvals)
        self.check_sha(merge_request, sha)
        if level(project, user) < DEVELOPER or approved or merge_request.state == "merged":
            raise unauthorized()
        merge_request.approvals.append(Approval(user_id=user.id))
        merge_request.updated_at = now()
        self.note(merge_request, user, "approved this merge request", system=True)
        self.announce(merge_request, user, "approved")

    def unapprove(self, merge_request: MergeRequest, user: User) -> None:
        kept = [a for a in merge_request.approvals if a.user_id != user.id]
        if len(kept) == len(merge_request.approvals):
            raise not_found("Approval")
        merge_request.approvals = kept
        merge_request.updated_at = now()
        self.note(merge_request, user, "unapproved this merge request", system=True)
        self.announce(merge_request, user, "unapproved")

    def check_sha(self, merge_request: MergeRequest, sha: str) -> None:
        if sha and sha != merge_request.sha:
            raise Refusal(409, f"SHA does not match HEAD of source branch: {merge_request.sha}")

    def note(
        self, merge_request: MergeRequest, user: User, body: str, *, system: bool = False
    ) -> Note:
        """Add a note; a person's goes out as a webhook, a system one does not (it rides on its own event)."""
        note = Note(
            id=self.instance.state.next_id("note"),
            project_id=merge_request.project_id,
            merge_request_id=merge_request.id,
            author_id=user.id,
            body=body,
            system=system,
        )
        self.instance.state.notes.append(note)
        if not system:
            merge_request.updated_at = note.created_at
            self.announce_note(merge_request, user, note, "create")
        return note

    def edit_note(self, merge_request: MergeRequest, user: User, note: Note, body: str) -> None:
        note.body, note.updated_at = body, now()
        merge_request.updated_at = note.updated_at
        self.announce_note(merge_request, user, note, "update")

    def branch_moved(self, project: Project, user: User, branch: str, new: str | None) -> None:
        """Bring the open merge requests of a pushed or removed branch up to date."""
        repository = self.instance.repository(project)
        for merge_request in self.instance.merge_requests(project):
            if merge_request.state != "opened":
                continue
            if merge_request.source_branch == branch:
                self._source_moved(repository, merge_request, user, new)
            elif merge_request.target_branch == branch and new is not None:
                self._target_moved(repository, merge_request, user, new)

    def _source_moved(
        self, repository: Repository, merge_request: MergeRequest, user: User, new: str | None
    ) -> None:
        old = merge_request.sha
        if new is None:
            self.close(merge_request, user)
            return
        if new == old:
            return
        added = repository.commits(f"{old}..{new}")
        self._add_version(repository, merge_request, new)
        merge_request.updated_at = now()
        self.note(merge_request, user, self._pushed_text(merge_request, added), system=True)
        self.announce(merge_request, user, "update", oldrev=old)

    def _pushed_text(self, merge_request: MergeRequest, added: list[Any]) -> str:
        items = "".join(f"<li>{c.sha[:8]} - {payloads.escaped(c.title)}</li>" for c in added)
        noun = "commit" if len(added) == 1 else "commits"
        url = f"{self.instance.merge_request_url(merge_request)}/diffs"
        return f"added {len(added)} {noun}\n\n<ul>{items}</ul>\n\n[Compare with previous version]({url})"

    def _target_moved(
        self, repository: Repository, merge_request: MergeRequest, user: User, new: str
    ) -> None:
        """A head that reached the target by itself counts as merged (git push, ff elsewhere)."""
        if repository.is_ancestor(merge_request.sha, new):
            self.mark_merged(merge_request, user, landed=merge_request.sha)

    def mark_merged(self, merge_request: MergeRequest, user: User, *, landed: str) -> None:
        self.set_state(merge_request, user, "merged")
        merge_request.landed_sha = landed
        merge_request.merged_at, merge_request.merge_user_id = now(), user.id
        self.announce(merge_request, user, "merge")

    def _add_version(self, repository: Repository, merge_request: MergeRequest, head: str) -> None:
        start = repository.find(merge_request.target_branch) or head
        version = Version(
            id=self.instance.state.next_id("version"),
            head_sha=head,
            base_sha=repository.merge_base(start, head) or start,
            start_sha=start,
        )
        merge_request.versions.insert(0, version)
        merge_request.sha = head
        repository.move(f"refs/merge-requests/{merge_request.iid}/head", head)

    # --- webhooks ---

    def announce(
        self,
        merge_request: MergeRequest,
        user: User,
        action: str,
        *,
        oldrev: str = "",
        changes: dict[str, Any] | None = None,
    ) -> None:
        project = self.instance.project(merge_request.project_id)
        payload = payloads.merge_request(self.instance, merge_request, user, action)
        payload["changes"] = changes or {}
        if oldrev:
            payload["object_attributes"]["oldrev"] = oldrev
        self.instance.emit(project, "merge_requests_events", payload)

    def announce_note(
        self, merge_request: MergeRequest, user: User, note: Note, action: str
    ) -> None:
        project = self.instance.project(merge_request.project_id)
        payload = payloads.note(self.instance, merge_request, user, note)
        payload["object_attributes"]["action"] = action
        self.instance.emit(project, "note_events", payload)
