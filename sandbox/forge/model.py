"""What the forge remembers: plain records, kept in memory and written to `state.json` after every change.

Times are texts as GitLab prints them (UTC, milliseconds, `Z`); they sort as they read. Ids count up per kind.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

REPORTER, DEVELOPER, MAINTAINER = 20, 30, 40
ROLES = {"guest": 10, "reporter": REPORTER, "developer": DEVELOPER, "maintainer": MAINTAINER}
SCOPES = ("api", "read_api", "read_repository", "write_repository")
NOBODY = 0


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@dataclass(slots=True, kw_only=True)
class User:
    id: int
    username: str
    name: str
    email: str
    state: str = "active"
    bot: bool = False
    created_at: str = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class Token:
    """A personal access token, or with `project_id` a project's: it opens nothing else."""

    id: int
    name: str
    secret: str
    user_id: int
    scopes: list[str]
    expires_at: str | None = None
    revoked: bool = False
    project_id: int | None = None
    created_at: str = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class Protection:
    """A protected branch name or pattern, with the lowest role that may push or merge (0 = nobody)."""

    id: int
    name: str
    push_level: int
    merge_level: int
    allow_force_push: bool = False


@dataclass(slots=True, kw_only=True)
class Project:
    id: int
    path: str
    default_branch: str
    merge_method: str = "merge"
    squash_option: str = "default_off"
    description: str = ""
    archived: bool = False
    members: dict[int, int] = field(default_factory=dict)
    protections: list[Protection] = field(default_factory=list)
    created_at: str = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class Version:
    """One state of a merge request's source branch, as GitLab keeps after each push."""

    id: int
    head_sha: str
    base_sha: str
    start_sha: str
    created_at: str = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class Approval:
    user_id: int
    approved_at: str = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class StateEvent:
    id: int
    user_id: int
    state: str
    created_at: str = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class MergeRequest:
    id: int
    iid: int
    project_id: int
    title: str
    description: str
    source_branch: str
    target_branch: str
    author_id: int
    state: str = "opened"
    sha: str = ""
    versions: list[Version] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)
    events: list[StateEvent] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    assignee_ids: list[int] = field(default_factory=list)
    reviewer_ids: list[int] = field(default_factory=list)
    squash: bool = False
    remove_source_branch: bool | None = None
    merge_commit_sha: str | None = None
    squash_commit_sha: str | None = None
    landed_sha: str | None = None
    merged_at: str | None = None
    merge_user_id: int | None = None
    closed_at: str | None = None
    closed_by_id: int | None = None
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)

    @property
    def draft(self) -> bool:
        return self.title.lower().startswith(("draft:", "[draft]", "(draft)"))


@dataclass(slots=True, kw_only=True)
class Note:
    id: int
    project_id: int
    merge_request_id: int
    author_id: int
    body: str
    system: bool = False
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class Status:
    id: int
    project_id: int
    sha: str
    ref: str
    name: str
    status: str
    author_id: int
    description: str | None = None
    target_url: str | None = None
    coverage: float | None = None
    pipeline_id: int = 0
    created_at: str = field(default_factory=now)
    started_at: str | None = None
    finished_at: str | None = None


@dataclass(slots=True, kw_only=True)
class Environment:
    id: int
    project_id: int
    name: str
    slug: str
    tier: str
    external_url: str | None = None
    description: str | None = None
    state: str = "available"
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class Deployment:
    id: int
    iid: int
    project_id: int
    environment_id: int
    ref: str
    sha: str
    tag: bool
    status: str
    user_id: int
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)
    finished_at: str | None = None


@dataclass(slots=True, kw_only=True)
class Hook:
    id: int
    project_id: int
    url: str
    token: str = ""
    name: str | None = None
    description: str | None = None
    events: dict[str, bool] = field(default_factory=dict)
    enable_ssl_verification: bool = True
    created_at: str = field(default_factory=now)


@dataclass(slots=True, kw_only=True)
class State:
    """Everything, in the order it came; `counters` hands out the ids."""

    counters: dict[str, int] = field(default_factory=dict)
    users: list[User] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    projects: list[Project] = field(default_factory=list)
    merge_requests: list[MergeRequest] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    environments: list[Environment] = field(default_factory=list)
    deployments: list[Deployment] = field(default_factory=list)
    hooks: list[Hook] = field(default_factory=list)

    def next_id(self, kind: str) -> int:
        self.counters[kind] = self.counters.get(kind, 0) + 1
        return self.counters[kind]
