"""GitLab behind the forge port: a thin adapter over python-gitlab.

What GitLab says is translated here and in `gitlab_facts`; what only GitLab does (statuses a token may not set on a
protected branch, deployments listed by environment and not by commit, `sha` in the query of a merge) stays here.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ci_bot.core.facts import (
    Comment,
    CommitStatus,
    Deployment,
    Draft,
    MergeOutcome,
    MergeRequest,
    MergeRequestState,
    MergeResult,
    Project,
    Review,
    User,
)
from ci_bot.errors import (
    ForgeAuthError,
    ForgeError,
    ForgeForbiddenError,
    ForgeNotFoundError,
    ForgeUnavailableError,
)
from ci_bot.forges.gitlab_deployments import Deployments
from ci_bot.forges.gitlab_facts import to_merge_request, to_project, to_user
from ci_bot.forges.gitlab_http import GuardedGitlab, within_border
from ci_bot.forges.gitlab_review import ReviewReader
from ci_bot.forges.registry import ForgeSettings

STATES = {
    MergeRequestState.OPEN: "opened",
    MergeRequestState.MERGED: "merged",
    MergeRequestState.CLOSED: "closed",
}
# What GitLab is still working out; asking again is right.
IN_THE_MAKING = frozenset(
    {"unchecked", "checking", "preparing", "approvals_syncing", "ci_still_running", "mergeable"}
)
FINAL = frozenset({"conflict", "broken_status", "not_open"})


class GitLabForge:
    """One project of a GitLab."""

    noun = "merge request"
    sigil = "!"

    def __init__(self, client: GuardedGitlab, project: str, own_ids: tuple[str, ...] = ()) -> None:
        self._client = client
        self._path = project
        self._project = client.projects.get(project, lazy=True)
        self._known_ids = own_ids
        self._me: User | None = None

    @classmethod
    def open(cls, settings: ForgeSettings) -> "GitLabForge":
        """Return the adapter; nothing is sent yet."""
        # python-gitlab adds the API's path itself; GitLab's CI gives the address with it.
        url = settings.url.rstrip("/").removesuffix("/api/v4")
        client = GuardedGitlab(
            url, settings.token, ca_file=settings.ca_file, timeout_s=settings.timeout_s
        )
        return cls(client, settings.project, settings.own_ids)

    @property
    def me(self) -> User:
        """The user this token acts as, asked once."""
        if self._me is None:
            self._me = self._read_me()
        return self._me

    @within_border
    def _read_me(self) -> User:
        data = self._client.http_get("/user")
        if not isinstance(data, dict):
            raise TypeError("no user")
        return to_user(data)

    @property
    def _own_ids(self) -> frozenset[str]:
        return frozenset({self.me.id, *self._known_ids})

    @within_border
    def get_project(self) -> Project:
        """Return the project, read afresh."""
        return to_project(self._client.projects.get(self._path).attributes)

    # -- merge requests ---------------------------------------------------------------------------------------------

    @within_border
    def list_merge_requests(
        self,
        *,
        state: MergeRequestState | None = None,
        source_branch: str = "",
        landed_sha: str = "",
        updated_after: datetime | None = None,
    ) -> Sequence[MergeRequest]:
        """Return matching merge requests, newest first, over all pages."""
        if landed_sha:
            found = self._list_landed(landed_sha)
        else:
            asked: dict[str, Any] = {"order_by": "created_at", "sort": "desc"}
            if state is not None:
                asked["state"] = STATES[state]
            if source_branch:
                asked["source_branch"] = source_branch
            if updated_after is not None:
                asked["updated_after"] = updated_after.isoformat()
            listed = self._project.mergerequests.list(get_all=True, **asked)
            found = [to_merge_request(each.attributes) for each in listed]
        return [
            each
            for each in sorted(found, key=lambda each: -each.number)
            if state in {None, each.state} and source_branch in {"", each.source_branch}
        ]

    def _list_landed(self, sha: str) -> list[MergeRequest]:
        try:
            commit = self._project.commits.get(sha, lazy=True)
            listed = commit.merge_requests(get_all=True)
        except ForgeNotFoundError:
            return []
        # GitLab gives every merge request that holds the commit; only where it landed is asked for.
        found = [to_merge_request(each) for each in listed]
        return [each for each in found if each.landed_sha == sha]

    @within_border
    def get_merge_request(self, number: int) -> MergeRequest:
        """Return one merge request, with `landed_sha` where merged."""
        return to_merge_request(self._project.mergerequests.get(number).attributes)

    def ensure_merge_request(self, draft: Draft) -> MergeRequest:
        """Return the one open merge request of the branch, created or brought up to date."""
        found = self._find_open(draft.source_branch)
        if found is not None:
            return self._update(found, draft)
        try:
            return self._create(draft)
        except ForgeError:
            # Somebody was faster, or the reply was lost after GitLab made it: look before saying anything.
            made = self._find_open(draft.source_branch)
            if made is None:
                raise
            return self._update(made, draft)

    def _find_open(self, source_branch: str) -> MergeRequest | None:
        found = self.list_merge_requests(state=MergeRequestState.OPEN, source_branch=source_branch)
        # A fork may have a branch of the same name; its merge request is a stranger's.
        return next((each for each in found if not each.from_fork), None)

    @within_border
    def _create(self, draft: Draft) -> MergeRequest:
        made = self._project.mergerequests.create(
            {**_draft_fields(draft), "source_branch": draft.source_branch}
        )
        return to_merge_request(made.attributes)

    @within_border
    def _update(self, found: MergeRequest, draft: Draft) -> MergeRequest:
        same = (found.title, found.body, found.target_branch) == (
            draft.title,
            draft.body,
            draft.target_branch,
        )
        if same:
            return found
        done = self._project.mergerequests.update(found.number, _draft_fields(draft))
        return to_merge_request(done)

    @within_border
    def list_changed_paths(self, number: int) -> Sequence[str]:
        """Return the paths a merge request touches, both names of a renamed one."""
        path = f"/projects/{self._project.encoded_id}/merge_requests/{number}/diffs"
        diffs = self._client.http_list(path, get_all=True)
        return sorted({each[side] for each in diffs for side in ("old_path", "new_path")})

    @within_border
    def close_merge_request(self, number: int) -> MergeRequest:
        """Close it; closing a closed one is not an error."""
        found = self.get_merge_request(number)
        if found.state is not MergeRequestState.OPEN:
            return found
        return to_merge_request(
            self._project.mergerequests.update(number, {"state_event": "close"})
        )

    @within_border
    def get_review(self, number: int) -> Review:
        """Return the gate's facts; what GitLab does not say is UNKNOWN."""
        return ReviewReader(self._client, self._project, self._own_ids).read(number)

    # -- merging ----------------------------------------------------------------------------------------------------

    def merge(self, number: int, *, head_sha: str) -> MergeOutcome:
        """Merge exactly `head_sha`. Whatever GitLab answers, the merge request itself is read before it is believed."""
        if not head_sha:
            # GitLab takes an empty `sha` for none, and would merge whatever is there.
            raise ForgeError(f"!{number} has no commit that could be merged")
        refusal: ForgeError | None = None
        try:
            self._request_merge(number, head_sha)
        except ForgeError as err:
            refusal = err
        # The reply may be lost, late or in error although GitLab merged.
        merge_request, status = self._read_with_status(number)
        if merge_request.state is MergeRequestState.MERGED:
            if merge_request.head_sha != head_sha:
                raise ForgeError(
                    f"!{number} was merged at {merge_request.head_sha[:8]}, not at {head_sha[:8]} that was judged",
                    hint="Somebody else merged another head: look at it now.",
                ) from refusal
            return MergeOutcome(result=MergeResult.MERGED, merge_request=merge_request)
        if merge_request.head_sha != head_sha:
            reason = f"the head moved to {merge_request.head_sha[:8]}"
            return _waiting(merge_request, reason)
        if refusal is None:
            return _waiting(merge_request, "GitLab accepted the merge and has not made it yet")
        return _judge_refusal(merge_request, status, refusal)

    @within_border
    def _request_merge(self, number: int, head_sha: str) -> None:
        # python-gitlab has no parameter for it; what it does not know goes into the query, where GitLab reads it.
        self._project.mergerequests.get(number, lazy=True).merge(sha=head_sha)

    @within_border
    def _read_with_status(self, number: int) -> tuple[MergeRequest, str]:
        data = self._project.mergerequests.get(number).attributes
        return to_merge_request(data), str(data.get("detailed_merge_status") or "")

    # -- what we say ------------------------------------------------------------------------------------------------

    def ensure_comment(self, number: int, marker: str, body: str) -> Comment:
        """Make our one comment with `marker` say `body`, over all pages, never somebody else's."""
        found = self._find_comment(number, marker)
        if found is not None:
            return found if found.body == body else self._edit_comment(number, found.id, body)
        try:
            return self._add_comment(number, body)
        except ForgeUnavailableError:
            # The write may have happened; a second one would be a second comment.
            made = self._find_comment(number, marker)
            if made is None:
                raise
            return made

    @within_border
    def _find_comment(self, number: int, marker: str) -> Comment | None:
        handle = self._project.mergerequests.get(number, lazy=True)
        for note in handle.notes.list(iterator=True, sort="asc", order_by="created_at"):
            author = to_user(note.attributes.get("author"))
            ours = author.id in self._own_ids and not note.attributes.get("system")
            if ours and marker in note.body:
                return Comment(id=str(note.id), author=author, body=note.body)
        return None

    @within_border
    def _edit_comment(self, number: int, note_id: str, body: str) -> Comment:
        handle = self._project.mergerequests.get(number, lazy=True)
        handle.notes.update(int(note_id), {"body": body})
        return Comment(id=note_id, author=self.me, body=body)

    @within_border
    def _add_comment(self, number: int, body: str) -> Comment:
        handle = self._project.mergerequests.get(number, lazy=True)
        note = handle.notes.create({"body": body})
        return Comment(id=str(note.id), author=self.me, body=body)

    def set_status(self, status: CommitStatus) -> bool:
        """Set a commit status; False where the token may not."""
        try:
            self._post_status(status)
        except ForgeForbiddenError:
            return False
        except (ForgeAuthError, ForgeUnavailableError, ForgeNotFoundError):
            # An expired token is no answer to "may it": the caller keeps what it had to say.
            raise
        except ForgeError as err:
            # GitLab refuses to repeat the state a status has already.
            if "transition" in err.message.lower():
                return True
            raise
        return True

    @within_border
    def _post_status(self, status: CommitStatus) -> None:
        fields = {
            "state": status.state.value,
            "name": status.name,
            "description": status.description,
        }
        if status.target_url:
            fields["target_url"] = status.target_url
        self._project.commits.get(status.sha, lazy=True).statuses.create(fields)

    def ensure_deployment(self, wanted: Deployment) -> Deployment:
        """Create or move our deployment of (environment, sha) to the wanted state."""
        return Deployments(self._project, self._own_ids).ensure(wanted)

    def list_deployments(self, *, sha: str, environment: str = "") -> Sequence[Deployment]:
        """Return deployments on a commit, newest first."""
        return Deployments(self._project, self._own_ids).list_of(sha, environment)

    @within_border
    def get_file(self, path: str, ref: str) -> bytes | None:
        """Return a file at a ref, or None where it is not there."""
        try:
            found = self._project.files.get(path, ref)
        except ForgeNotFoundError:
            return None
        return base64.b64decode(found.content, validate=True)


def _draft_fields(draft: Draft) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "target_branch": draft.target_branch,
        "title": draft.title,
        "description": draft.body,
        "remove_source_branch": True,
    }
    if draft.labels:
        fields["labels"] = ",".join(draft.labels)
    return fields


def _waiting(merge_request: MergeRequest, reason: str) -> MergeOutcome:
    return MergeOutcome(result=MergeResult.WAITING, merge_request=merge_request, reason=reason)


def _judge_refusal(merge_request: MergeRequest, status: str, refusal: ForgeError) -> MergeOutcome:
    """Say whether a refused merge may come good by itself."""
    if isinstance(refusal, ForgeUnavailableError) or "insufficient_scope" in refusal.message:
        raise refusal
    words = status.replace("_", " ")
    if isinstance(refusal, ForgeAuthError):
        return MergeOutcome(
            result=MergeResult.REFUSED, merge_request=merge_request, reason=refusal.message
        )
    if status in FINAL or merge_request.state is MergeRequestState.CLOSED:
        return MergeOutcome(result=MergeResult.REFUSED, merge_request=merge_request, reason=words)
    if status in IN_THE_MAKING:
        words = f"GitLab is not ready to merge it ({words})"
    return _waiting(merge_request, words or refusal.message)
