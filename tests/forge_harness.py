"""Two worlds behind the forge port, moved by the same verbs: the fake in memory, and GitLab's adapter on the sandbox."""

from typing import Any, Protocol

from ci_bot.core.facts import MergeRequest
from ci_bot.forges.port import Forge
from ci_bot.forges.registry import ForgeSettings, open_forge
from sandbox.forge import SandboxForge
from sandbox.forge.seed import DEFAULT, DEPLOYMENT
from tests.fake_forge import FakeForge
from tests.fake_world import World

BRANCH = "lockgate/dev/app"


class Harness(Protocol):
    """What a test does to a forge from outside; people are named as in the default seed."""

    def forge(self, username: str) -> Forge: ...
    def user_id(self, username: str) -> str: ...
    def open(self) -> int: ...
    def push(self, number: int, username: str) -> str: ...
    def push_back(self, number: int, sha: str, username: str) -> None: ...
    def approve(self, number: int, username: str) -> None: ...
    def unapprove(self, number: int, username: str) -> None: ...
    def comment(self, number: int, username: str, body: str) -> None: ...
    def comments(self, number: int) -> list[tuple[str, str]]: ...
    def hide_approvals(self) -> None: ...
    def lose_reply_of_merge(self) -> None: ...
    def lose_reply_of_comment(self) -> None: ...


class FakeHarness:
    """`World` and `FakeForge`."""

    def __init__(self, *, merge_method: str = "merge") -> None:
        self.world = World(merge_method=merge_method)
        self.people = {p.user.username: p.user for p in self.world.people.values()}

    def forge(self, username: str) -> Forge:
        return FakeForge(self.world, me=self.people[username])

    def user_id(self, username: str) -> str:
        return self.people[username].id

    def open(self) -> int:
        return self.world.open(source_branch=BRANCH)

    def push(self, number: int, username: str) -> str:
        return self.world.push(number, pusher=self.people[username])

    def push_back(self, number: int, sha: str, username: str) -> None:
        self.world.push(number, pusher=self.people[username], sha=sha)

    def approve(self, number: int, username: str) -> None:
        self.world.approve(number, self.people[username])

    def unapprove(self, number: int, username: str) -> None:
        self.world.unapprove(number, self.people[username])

    def comment(self, number: int, username: str, body: str) -> None:
        self.world.note(number, self.people[username], body)

    def comments(self, number: int) -> list[tuple[str, str]]:
        notes = self.world.merge_requests[number].notes
        return [(note.author.username, note.body) for note in notes]

    def hide_approvals(self) -> None:
        self.world.unknown.add("approvals")

    def lose_reply_of_merge(self) -> None:
        # The fake stands for an adapter: a lost reply has been resolved below the port.
        return

    def lose_reply_of_comment(self) -> None:
        return


class GitLabHarness:
    """The adapter and the unpatched python-gitlab on the sandbox's real repositories."""

    def __init__(self, forge: SandboxForge) -> None:
        self.sandbox = forge

    def forge(self, username: str, timeout_s: float = 20.0) -> Forge:
        return open_forge(
            ForgeSettings(
                url=self.sandbox.url,
                project=self.sandbox.project_path,
                token=self.sandbox.token(username),
                ca_file=str(self.sandbox.ca_file),
                timeout_s=timeout_s,
            )
        )

    def user_id(self, username: str) -> str:
        return self.forge(username).me.id

    def open(self) -> int:
        bot = self.sandbox.as_user("lockgate-bot")
        bot.push(BRANCH, {"dev/deployment.yaml": DEPLOYMENT.replace(":1.0", ":1.2")})
        return bot.open(BRANCH)

    def push(self, number: int, username: str) -> str:
        count = len(self._request(number).versions)
        text = DEPLOYMENT.replace(":1.0", f":1.{count + 2}")
        return self.sandbox.as_user(username).push(BRANCH, {"dev/deployment.yaml": text})

    def push_back(self, number: int, sha: str, username: str) -> None:
        self.sandbox.as_user(username).force_push(BRANCH, sha)

    def approve(self, number: int, username: str) -> None:
        self.sandbox.as_user(username).approve(number)

    def unapprove(self, number: int, username: str) -> None:
        self.sandbox.as_user(username).unapprove(number)

    def comment(self, number: int, username: str, body: str) -> None:
        self.sandbox.as_user(username).comment(number, body)

    def comments(self, number: int) -> list[tuple[str, str]]:
        instance = self.sandbox.instance
        notes = [n for n in instance.notes(self._request(number)) if not n.system]
        return [(instance.user(note.author_id).username, note.body) for note in notes]

    def hide_approvals(self) -> None:
        self.sandbox.faults.add("status", path="/approvals$", status=403, times=99)

    def lose_reply_of_merge(self) -> None:
        self.sandbox.faults.add("lost_reply", method="PUT", path="/merge")

    def lose_reply_of_comment(self) -> None:
        self.sandbox.faults.add("bad_gateway", method="POST", path="/notes$")

    def _request(self, number: int) -> Any:
        return self.sandbox.as_user("lockgate-bot").merge_request(number)


def seed_with(merge_method: str) -> dict[str, Any]:
    """The default seed whose project merges by another method; `squash` is GitLab's always-squash."""
    (project, *others) = DEFAULT["projects"]
    chosen = (
        {"merge_method": "merge", "squash_option": "always"}
        if merge_method == "squash"
        else {"merge_method": merge_method}
    )
    return {**DEFAULT, "projects": [{**project, **chosen}, *others]}


def is_first_parent_tip(harness: Harness, merge_request: MergeRequest) -> bool:
    """Tell whether the landed commit is what now stands at the target branch's tip."""
    if isinstance(harness, FakeHarness):
        return harness.world.heads[merge_request.target_branch] == merge_request.landed_sha
    assert isinstance(harness, GitLabHarness)
    head = harness.sandbox.repository_dir() / "refs" / "heads" / merge_request.target_branch
    return head.read_text().strip() == merge_request.landed_sha
