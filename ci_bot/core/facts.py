"""What a forge says, as values: merge requests, reviews, deployments, statuses.

Adapters make these; the gate, the rollout and the comment are computed from them. What a forge does not say is
`UNKNOWN`, never a guess: the gate closes on it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class MergeRequestState(StrEnum):
    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


class State(StrEnum):
    """State of a commit status or a deployment; adapters map it to the forge's words."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person or a bot; `id` is the forge's own and never reused."""

    id: str
    username: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    id: str
    path: str  # group/config
    default_branch: str
    web_url: str
    clone_url: str  # without userinfo
    merge_method: str = "merge"  # merge | rebase_merge | ff | squash
    commit_url: str = ""  # address of a commit's page, with {sha}


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    number: int
    title: str
    body: str
    state: MergeRequestState
    draft: bool
    source_branch: str
    target_branch: str
    head_sha: str
    author: User
    web_url: str
    from_fork: bool = False
    landed_sha: str = ""  # merge commit, else squash commit, else head; empty until merged
    merged_at: datetime | None = None
    merged_by: User | None = None
    created_at: datetime | None = None
    merge_blocker: str = (
        ""  # why the forge itself would refuse now (conflict, draft, checks …), in its words
    )


class UnknownType(StrEnum):
    """A fact the forge did not give. The gate closes on it."""

    UNKNOWN = "unknown"


UNKNOWN = UnknownType.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    user: User
    at: datetime | UnknownType  # by the forge's clock
    can_merge: bool | UnknownType  # may this person merge into the target branch
    active: bool = True  # not blocked or deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Everything the gate needs to know of a merge request, read in one go after the merge request itself."""

    merge_request: MergeRequest
    head_pushed_at: (
        datetime | UnknownType
    )  # creation of the newest version whose head is `head_sha`
    approvals: tuple[Approval, ...] | UnknownType
    vetoes: tuple[User, ...] | UnknownType = ()  # changes requested and standing
    excluded: frozenset[str] | UnknownType = (
        frozenset()
    )  # user ids: author, pushers, commit authors, us
    unmapped_emails: tuple[str, ...] = ()  # commit emails the forge maps to no user


class MergeResult(StrEnum):
    MERGED = "merged"
    WAITING = "waiting"  # head moved, checks running, mergeability being computed
    REFUSED = "refused"  # the forge says no and a repeat will not change it


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOutcome:
    result: MergeResult
    merge_request: MergeRequest
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    id: str
    author: User
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    id: str
    environment: str  # dev/cluster/namespace/app, or dev/rollout for the roll-up
    sha: str
    state: State
    creator: User
    ref: str = ""
    tier: str = "other"
    web_url: str = ""
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitStatus:
    sha: str
    name: str  # lockgate/gate, lockgate/<cluster>/<namespace>/<app>
    state: State
    description: str = ""  # at most 140 characters
    target_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a merge request should look like."""

    source_branch: str
    target_branch: str
    title: str
    body: str
    labels: tuple[str, ...] = field(default_factory=tuple)
