"""The forge as the rest of the bot and the hub see it.

One `Forge` speaks for one project. Adapters translate at the border: they return the values of `core.facts` and
raise only the `Forge*` errors of `ci_bot.errors`. `POST` is never retried blindly; `ensure_*` looks before it
writes. A word a user reads ("merge request", "pull request") comes from `noun`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from ci_bot.core.facts import (
    Comment,
    CommitStatus,
    Deployment,
    Draft,
    MergeOutcome,
    MergeRequest,
    MergeRequestState,
    Project,
    Review,
    User,
)


class Forge(Protocol):
    """One project of one forge."""

    noun: str  # "merge request"
    sigil: str  # "!" before a number

    @property
    def me(self) -> User:
        """The user this token acts as, asked once."""

    def get_project(self) -> Project:
        """Return the project, read afresh."""

    def list_merge_requests(
        self,
        *,
        state: MergeRequestState | None = None,
        source_branch: str = "",
        landed_sha: str = "",
        updated_after: datetime | None = None,
    ) -> Sequence[MergeRequest]:
        """Return matching merge requests, newest first, over all pages.

        `landed_sha` asks for the merge requests a commit on the target branch came from.
        """

    def get_merge_request(self, number: int) -> MergeRequest:
        """Return one merge request, with `landed_sha` where merged."""

    def ensure_merge_request(self, draft: Draft) -> MergeRequest:
        """Return the one open merge request of `draft.source_branch`, created or brought up to date."""

    def list_changed_paths(self, number: int) -> Sequence[str]:
        """Return the paths a merge request adds, changes, removes or renames (both names), over all pages."""

    def close_merge_request(self, number: int) -> MergeRequest:
        """Close it; closing a closed one is not an error."""

    def get_review(self, number: int) -> Review:
        """Return the gate's facts; what the forge does not say is UNKNOWN, never guessed."""

    def merge(self, number: int, *, head_sha: str) -> MergeOutcome:
        """Merge exactly `head_sha`. A lost reply is resolved by reading before anything is said."""

    def ensure_comment(self, number: int, marker: str, body: str) -> Comment:
        """Make the one comment by us that carries `marker` say `body` (marker included by the caller).

        Searches every page and edits only a comment whose author is one of our ids.
        """

    def set_status(self, status: CommitStatus) -> bool:
        """Set a commit status; False where the token may not (GitLab, protected branches)."""

    def ensure_deployment(self, wanted: Deployment) -> Deployment:
        """Create or move the deployment of (environment, sha) to the wanted state; `id` may be empty."""

    def list_deployments(self, *, sha: str, environment: str = "") -> Sequence[Deployment]:
        """Return deployments on a commit, newest first."""

    def get_file(self, path: str, ref: str) -> bytes | None:
        """Return a file at a ref, or None where it is not there."""
