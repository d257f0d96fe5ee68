"""`FakeForge`: the forge port in memory, for tests of everything that stands on the port.

```python
world = World()                       # tests/fake_world.py: people, clock, events
number = world.open()                 # by the bot
forge = FakeForge(world)              # speaks as the bot; FakeForge(world, me=world.hub) as the hub
world.approve(number, world.senior)
forge.merge(number, head_sha=forge.get_merge_request(number).head_sha)
```
`world.fail = lambda method, stage: ForgeTimeoutError(...) if (method, stage) == ("ensure_comment", "after") else None`
makes a call fail before it acts or after it has acted (a lost reply). The contract suite holds it to the same
rules as the real adapter.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

from ci_bot.core.facts import (
    UNKNOWN,
    Approval,
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
from ci_bot.errors import ForgeNotFoundError
from tests.fake_world import FakeMergeRequest, World

P = ParamSpec("P")
R = TypeVar("R")


def _port(
    method: Callable[Concatenate["FakeForge", P], R],
) -> Callable[Concatenate["FakeForge", P], R]:
    """Let the world's failure hook speak before and after the call."""

    @functools.wraps(method)
    def wrapped(self: "FakeForge", /, *args: P.args, **kwargs: P.kwargs) -> R:
        self.world.calls.append(method.__name__)
        self._fail(method.__name__, "before")
        answer = method(self, *args, **kwargs)
        self._fail(method.__name__, "after")
        return answer

    return wrapped


class FakeForge:
    """One user's view of a `World`."""

    noun = "merge request"
    sigil = "!"

    def __init__(
        self, world: World | None = None, *, me: User | None = None, own_ids: Sequence[str] = ()
    ) -> None:
        self.world = world or World()
        self._me = me or self.world.bot
        self.own_ids = frozenset({self._me.id, *own_ids})

    def _fail(self, method: str, stage: str) -> None:
        error = self.world.fail(method, stage)
        if error is not None:
            raise error

    @property
    def me(self) -> User:
        return self._me

    @_port
    def get_project(self) -> Project:
        return self.world.project

    @_port
    def list_merge_requests(
        self,
        *,
        state: MergeRequestState | None = None,
        source_branch: str = "",
        landed_sha: str = "",
        updated_after: datetime | None = None,
    ) -> Sequence[MergeRequest]:
        found = [
            item
            for item in self.world.merge_requests.values()
            if (state is None or item.state is state)
            and (not source_branch or item.source_branch == source_branch)
            and (not landed_sha or item.landed_sha == landed_sha)
            and (
                updated_after is None
                or (item.updated_at is not None and item.updated_at > updated_after)
            )
        ]
        return [self._show(item) for item in sorted(found, key=lambda item: -item.number)]

    @_port
    def get_merge_request(self, number: int) -> MergeRequest:
        return self._show(self._find(number))

    @_port
    def ensure_merge_request(self, draft: Draft) -> MergeRequest:
        for item in self.world.merge_requests.values():
            same_branch = item.source_branch == draft.source_branch
            if same_branch and item.state is MergeRequestState.OPEN and not item.from_fork:
                item.title, item.body = draft.title, draft.body
                item.target_branch = draft.target_branch
                return self._show(item)
        head = self.world.heads.get(draft.source_branch, "")
        number = self.world.open(
            author=self._me,
            source_branch=draft.source_branch,
            target_branch=draft.target_branch,
            title=draft.title,
        )
        item = self.world.merge_requests[number]
        item.body = draft.body
        if head:
            item.versions[-1] = (head, item.versions[-1][1])
            self.world.heads[draft.source_branch] = head
        return self._show(item)

    @_port
    def list_changed_paths(self, number: int) -> Sequence[str]:
        return self._find(number).changed_paths

    @_port
    def close_merge_request(self, number: int) -> MergeRequest:
        item = self._find(number)
        if item.state is MergeRequestState.OPEN:
            self.world.set_state(number, MergeRequestState.CLOSED)
        return self._show(item)

    @_port
    def get_review(self, number: int) -> Review:
        item, unknown = self._find(number), self.world.unknown
        times = {
            user_id: UNKNOWN if "approval_at" in unknown else at
            for user_id, at in item.approvals.items()
        }
        approvals = tuple(
            Approval(
                user=self.world.people[user_id].user,
                at=at,
                can_merge=self.world.can_merge(user_id),
                active=self.world.people[user_id].active,
            )
            for user_id, at in times.items()
        )
        vetoes = tuple(self.world.people[user_id].user for user_id in item.vetoes)
        excluded = frozenset({item.author.id, *item.pushers, *self.own_ids})
        return Review(
            merge_request=self._show(item),
            head_pushed_at=UNKNOWN if "head_pushed_at" in unknown else item.versions[-1][1],
            approvals=UNKNOWN if "approvals" in unknown else approvals,
            vetoes=UNKNOWN if "vetoes" in unknown else vetoes,
            excluded=UNKNOWN if "excluded" in unknown else excluded,
            unmapped_emails=item.unmapped_emails,
        )

    @_port
    def merge(self, number: int, *, head_sha: str) -> MergeOutcome:
        self.world.before_merge()
        item = self._find(number)
        shown = self._show(item)
        if item.state is MergeRequestState.MERGED and item.head_sha == head_sha:
            return MergeOutcome(result=MergeResult.MERGED, merge_request=shown)
        if item.state is not MergeRequestState.OPEN:
            reason = f"it is {item.state}"
            return MergeOutcome(result=MergeResult.REFUSED, merge_request=shown, reason=reason)
        if item.head_sha != head_sha:
            reason = f"the head moved to {item.head_sha[:7]}"
            return MergeOutcome(result=MergeResult.WAITING, merge_request=shown, reason=reason)
        if item.draft or item.blocker:
            reason = item.blocker or "it is a draft"
            return MergeOutcome(result=MergeResult.WAITING, merge_request=shown, reason=reason)
        if self.world.can_merge(self._me.id) is not True:
            reason = f"@{self._me.username} may not merge into {item.target_branch}"
            return MergeOutcome(result=MergeResult.REFUSED, merge_request=shown, reason=reason)
        self.world.land(number, self._me)
        return MergeOutcome(result=MergeResult.MERGED, merge_request=self._show(item))

    @_port
    def ensure_comment(self, number: int, marker: str, body: str) -> Comment:
        for note in self._find(number).notes:
            if note.author.id in self.own_ids and marker in note.body:
                note.body = body
                return Comment(id=note.id, author=note.author, body=body)
        note = self.world.note(number, self._me, body)
        return Comment(id=note.id, author=note.author, body=body)

    @_port
    def set_status(self, status: CommitStatus) -> bool:
        protected = {item.landed_sha for item in self.world.merge_requests.values()} - {""}
        if status.sha in protected and self.world.can_merge(self._me.id) is not True:
            return False
        self.world.statuses.append(status)
        self.world.status_writers.append(self._me)
        return True

    @_port
    def ensure_deployment(self, wanted: Deployment) -> Deployment:
        deployments = self.world.deployments
        for index, found in enumerate(deployments):
            same = (found.environment, found.sha) == (wanted.environment, wanted.sha)
            if same and found.creator.id in self.own_ids:
                if found.state is not wanted.state:
                    deployments[index] = replace(
                        found, state=wanted.state, updated_at=self.world.tick()
                    )
                return deployments[index]
        made = replace(
            wanted,
            id=str(500 + len(deployments)),
            creator=self._me,
            updated_at=self.world.tick(),
        )
        deployments.append(made)
        return made

    @_port
    def list_deployments(self, *, sha: str, environment: str = "") -> Sequence[Deployment]:
        found = [
            item
            for item in self.world.deployments
            if item.sha == sha and environment in ("", item.environment)
        ]
        return list(reversed(found))

    @_port
    def get_file(self, path: str, ref: str) -> bytes | None:
        return self.world.files.get(ref, {}).get(path)

    def _find(self, number: int) -> FakeMergeRequest:
        if number not in self.world.merge_requests:
            raise ForgeNotFoundError(f"there is no merge request !{number}")
        return self.world.merge_requests[number]

    def _show(self, item: FakeMergeRequest) -> MergeRequest:
        return MergeRequest(
            number=item.number,
            title=item.title,
            body=item.body,
            state=item.state,
            draft=item.draft,
            source_branch=item.source_branch,
            target_branch=item.target_branch,
            head_sha=item.head_sha,
            author=item.author,
            web_url=f"{self.world.project.web_url}/-/merge_requests/{item.number}",
            from_fork=item.from_fork,
            landed_sha=item.landed_sha,
            merged_at=item.merged_at,
            merged_by=item.merged_by,
            created_at=item.created_at,
            merge_blocker=item.blocker,
        )
