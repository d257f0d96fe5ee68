"""GitLab's JSON as the values of `core.facts`. A field that must be there and is not raises KeyError (`border`)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ci_bot.core.facts import (
    Deployment,
    MergeRequest,
    MergeRequestState,
    Project,
    State,
    User,
)

Json = Mapping[str, Any]
GHOST = User(id="0", username="ghost", name="deleted user")
STATES = {
    "opened": MergeRequestState.OPEN,
    "locked": MergeRequestState.OPEN,
    "merged": MergeRequestState.MERGED,
    "closed": MergeRequestState.CLOSED,
}
# What GitLab computes in the background or leaves to us says nothing against a merge.
NO_BLOCKER = frozenset(
    {"mergeable", "unchecked", "checking", "preparing", "approvals_syncing", "not_approved"}
)
DEPLOYMENT_WORDS = {
    State.PENDING: "running",
    State.RUNNING: "running",
    State.SUCCESS: "success",
    State.FAILED: "failed",
    State.CANCELED: "canceled",
}
DEPLOYMENT_STATES = {
    "created": State.PENDING,
    "blocked": State.PENDING,
    "running": State.RUNNING,
    "success": State.SUCCESS,
    "failed": State.FAILED,
    "canceled": State.CANCELED,
    "skipped": State.CANCELED,
}


def to_user(data: Json | None) -> User:
    """Return a user; a deleted one is null in some places."""
    if not data:
        return GHOST
    return User(id=str(data["id"]), username=data["username"], name=data.get("name") or "")


def to_instant(text: Any) -> datetime | None:
    """Return an aware instant of GitLab's ISO 8601, or None."""
    if not isinstance(text, str) or not text:
        return None
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def to_project(data: Json) -> Project:
    web_url = data["web_url"]
    return Project(
        id=str(data["id"]),
        path=data["path_with_namespace"],
        default_branch=data["default_branch"],
        web_url=web_url,
        clone_url=data["http_url_to_repo"],
        merge_method=data.get("merge_method") or "merge",
        commit_url=f"{web_url}/-/commit/{{sha}}",
    )


def to_merge_request(data: Json) -> MergeRequest:
    state = STATES[data["state"]]
    return MergeRequest(
        number=int(data["iid"]),
        title=_text(data, "title"),
        body=data.get("description") or "",
        state=state,
        draft=bool(data.get("draft", data.get("work_in_progress", False))),
        source_branch=_text(data, "source_branch"),
        target_branch=_text(data, "target_branch"),
        head_sha=data["sha"] or "",  # null where there is no commit yet
        author=to_user(data["author"]),
        web_url=_text(data, "web_url"),
        from_fork=data["source_project_id"] != data["target_project_id"],
        landed_sha=_landed_sha(data) if state is MergeRequestState.MERGED else "",
        merged_at=to_instant(data.get("merged_at")),
        merged_by=to_user(merged_by) if (merged_by := data.get("merge_user")) else None,
        created_at=to_instant(data.get("created_at")),
        merge_blocker=_blocker(data) if state is MergeRequestState.OPEN else "",
    )


def _text(data: Json, field: str) -> str:
    value = data[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} is no text")
    return value


def _landed_sha(data: Json) -> str:
    """Merge commit, else squash commit, else head: what stands on the target branch (decision 10)."""
    return str(data.get("merge_commit_sha") or data.get("squash_commit_sha") or data["sha"])


def _blocker(data: Json) -> str:
    status = str(data.get("detailed_merge_status") or "")
    # A draft is a requirement of its own.
    return "" if status in NO_BLOCKER or status == "draft_status" else status.replace("_", " ")


def to_deployment(data: Json) -> Deployment:
    return Deployment(
        id=str(data["id"]),
        environment=data["environment"]["name"],
        sha=data["sha"],
        state=DEPLOYMENT_STATES.get(data["status"], State.PENDING),
        creator=to_user(data.get("user")),
        ref=data.get("ref") or "",
        tier=data["environment"].get("tier") or "other",
        updated_at=to_instant(data.get("updated_at")),
    )
