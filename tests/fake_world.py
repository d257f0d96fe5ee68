"""What stands behind a `FakeForge`: one project, its people and its merge requests, moved by the test.

Time is a counter: every event happens one second after the one before, so that "later than the push" is exact.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ci_bot.core.facts import (
    CommitStatus,
    Deployment,
    MergeRequestState,
    Project,
    UnknownType,
    User,
)

DEVELOPER, MAINTAINER = 30, 40

Failure = Callable[[str, str], Exception | None]  # (method, "before" | "after") -> what to raise


@dataclass(slots=True, kw_only=True)
class Person:
    user: User
    level: int = DEVELOPER
    active: bool = True


@dataclass(slots=True, kw_only=True)
class Note:
    id: str
    author: User
    body: str


@dataclass(slots=True, kw_only=True)
class FakeMergeRequest:
    """The mutable state of one merge request."""

    number: int
    author: User
    source_branch: str
    target_branch: str
    title: str
    body: str = ""
    state: MergeRequestState = MergeRequestState.OPEN
    draft: bool = False
    versions: list[tuple[str, datetime]] = field(default_factory=list)
    pushers: set[str] = field(default_factory=set)
    approvals: dict[str, datetime] = field(default_factory=dict)
    vetoes: dict[str, datetime] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    changed_paths: tuple[str, ...] = ()
    landed_sha: str = ""
    merged_by: User | None = None
    merged_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    blocker: str = ""
    unmapped_emails: tuple[str, ...] = ()
    from_fork: bool = False

    @property
    def head_sha(self) -> str:
        return self.versions[-1][0]


class World:
    """The project and everybody in it. Tests act on it; `FakeForge` speaks for one user of it."""

    def __init__(self, *, merge_method: str = "merge") -> None:
        self.now = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
        self.people: dict[str, Person] = {}
        self.merge_requests: dict[int, FakeMergeRequest] = {}
        self.deployments: list[Deployment] = []
        self.statuses: list[CommitStatus] = []
        self.status_writers: list[User] = []
        self.files: dict[str, dict[str, bytes]] = {"main": {}}
        self.heads: dict[str, str] = {"main": self.new_sha("root")}
        self.merge_level = MAINTAINER
        self.unknown: set[str] = set()  # Review fields the forge keeps silent about
        self.fail: Failure = lambda _method, _stage: None
        self.before_merge: Callable[[], object] = lambda: (
            None
        )  # runs between the check and the merge
        self.calls: list[str] = []
        self.project = Project(
            id="7",
            path="group/config",
            default_branch="main",
            web_url="https://forge.test/group/config",
            clone_url="https://forge.test/group/config.git",
            merge_method=merge_method,
        )
        self.bot = self.add_person("lockgate-bot", level=DEVELOPER)
        self.hub = self.add_person("lockgate-hub", level=DEVELOPER)
        self.junior = self.add_person("junior", level=DEVELOPER)
        self.senior = self.add_person("senior", level=MAINTAINER)

    def tick(self, seconds: float = 1) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def new_sha(self, seed: str = "") -> str:
        self._shas = getattr(self, "_shas", 0) + 1
        return hashlib.sha1(f"{seed}{self._shas}".encode()).hexdigest()

    def add_person(self, username: str, *, level: int = DEVELOPER, active: bool = True) -> User:
        user = User(id=str(100 + len(self.people)), username=username, name=username.title())
        self.people[user.id] = Person(user=user, level=level, active=active)
        return user

    def open(
        self,
        *,
        author: User | None = None,
        source_branch: str = "",
        target_branch: str = "main",
        title: str = "Bump registry/app to 1.2 in dev",
        changed_paths: Sequence[str] = ("dev/deployment.yaml",),
        draft: bool = False,
    ) -> int:
        """Open a merge request with one pushed version; return its number."""
        number = len(self.merge_requests) + 1
        author = author or self.bot
        self.merge_requests[number] = FakeMergeRequest(
            number=number,
            author=author,
            source_branch=source_branch or f"lockgate/dev/app{number}",
            target_branch=target_branch,
            title=title,
            changed_paths=tuple(changed_paths),
            draft=draft,
            created_at=self.tick(),
        )
        self.push(number, pusher=author)
        return number

    def push(self, number: int, *, pusher: User | None = None, sha: str = "") -> str:
        """Push a new head (or `sha` again: a force-push back) and return it."""
        merge_request = self.merge_requests[number]
        head = sha or self.new_sha(f"push{number}")
        merge_request.versions.append((head, self.tick()))
        merge_request.pushers.add((pusher or merge_request.author).id)
        merge_request.updated_at = self.now
        self.heads[merge_request.source_branch] = head
        return head

    def approve(self, number: int, user: User) -> None:
        merge_request = self.merge_requests[number]
        merge_request.approvals[user.id] = self.tick()
        merge_request.vetoes.pop(user.id, None)
        merge_request.updated_at = self.now

    def unapprove(self, number: int, user: User) -> None:
        self.merge_requests[number].approvals.pop(user.id, None)
        self.merge_requests[number].updated_at = self.tick()

    def request_changes(self, number: int, user: User) -> None:
        """As GitLab does: the approval goes, the veto stands until the same person approves."""
        merge_request = self.merge_requests[number]
        merge_request.approvals.pop(user.id, None)
        merge_request.vetoes[user.id] = self.tick()
        merge_request.updated_at = self.now

    def set_state(self, number: int, state: MergeRequestState) -> None:
        self.merge_requests[number].state = state
        self.merge_requests[number].updated_at = self.tick()

    def note(self, number: int, author: User, body: str) -> Note:
        notes = self.merge_requests[number].notes
        note = Note(id=str(1000 * number + len(notes)), author=author, body=body)
        notes.append(note)
        self.tick()
        return note

    def land(self, number: int, by: User) -> str:
        """Merge by the project's method and return the landed commit."""
        merge_request = self.merge_requests[number]
        head = merge_request.head_sha
        landed = head if self.project.merge_method == "ff" else self.new_sha(f"land{number}")
        merge_request.state = MergeRequestState.MERGED
        merge_request.landed_sha = landed
        merge_request.merged_by = by
        merge_request.merged_at = merge_request.updated_at = self.tick()
        self.heads[merge_request.target_branch] = landed
        return landed

    def put_file(self, path: str, data: bytes, *, ref: str = "main") -> None:
        self.files.setdefault(ref, {})[path] = data

    def can_merge(self, user_id: str) -> bool | UnknownType:
        if "can_merge" in self.unknown:
            return UnknownType.UNKNOWN
        person = self.people.get(user_id)
        return person is not None and person.level >= self.merge_level
