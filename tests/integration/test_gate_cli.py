"""`lockgate gate`, `merge`, `wait` and `status` as a CI job runs them: what they print, and their exit codes (D20)."""

import pytest

from ci_bot.core.facts import Deployment, State
from sandbox.forge import SandboxForge
from sandbox.forge.seed import DEFAULT
from sandbox.stack import script
from tests.bump_desk import BumpDesk, Done
from tests.forge_harness import GitLabHarness

SECONDS = "1s"


class Desk(BumpDesk):
    """A CI job whose token is a maintainer's: the protected job that may merge."""

    def __init__(self, forge: SandboxForge) -> None:
        super().__init__(forge)
        self.world = GitLabHarness(forge)
        self.number = self.world.open()

    def lockgate(self, command: str, *more: str, who: str = "senior") -> Done:
        argv = [script("lockgate"), command, "--project", self.forge.project_path, *more]
        return self.run(argv, LOCKGATE_TOKEN=self.forge.token(who))

    def of_mr(self, command: str, *more: str, who: str = "senior") -> Done:
        return self.lockgate(command, "--mr", str(self.number), *more, who=who)

    def wait(self, *more: str) -> Done:
        return self.of_mr("wait", "--timeout", SECONDS, *more)

    def land(self) -> str:
        self.merge(self.number)
        return self.git("rev-parse", "main")

    def report(self, sha: str, state: State, who: str = "lockgate-hub") -> None:
        forge = self.world.forge(who)
        for environment in ("dev/demo/argocd/myapp", "dev/rollout"):
            forge.ensure_deployment(
                Deployment(
                    id="",
                    environment=environment,
                    sha=sha,
                    state=state,
                    creator=forge.me,
                    ref="main",
                )
            )


@pytest.fixture
def desk(forge: SandboxForge) -> Desk:
    return Desk(forge)


def test_gate_waits_until_somebody_who_may_merge_approves_this_head(desk: Desk):
    """0 may merge, 3 waits; every requirement is printed with the people it is about."""
    head = desk.git("rev-parse", "lockgate/dev/app")
    waiting = desk.of_mr("gate")
    assert waiting.code == 3
    assert f"0 of 1 approval on {head[:8]}" in waiting.out
    desk.world.approve(desk.number, "junior")
    junior = desk.of_mr("gate")
    assert (junior.code, "@junior does not count" in junior.out) == (3, True)
    desk.world.approve(desk.number, "senior")
    # Judged by the hub's token: the judge's own approval would not count.
    opened = desk.of_mr("gate", "--output", "json", who="lockgate-hub")
    assert opened.code == 0
    assert (opened.answer["verdict"], opened.answer["head_sha"]) == ("merge", head)
    assert all(each["met"] for each in opened.answer["requirements"])


def test_gate_refuses_a_closed_one(desk: Desk):
    desk.world.forge("lockgate-bot").close_merge_request(desk.number)
    refused = desk.of_mr("gate")
    assert (refused.code, "it is closed" in refused.out) == (4, True)


def test_a_merge_request_that_is_not_there_is_one_line(desk: Desk):
    missing = desk.lockgate("gate", "--mr", "4711")
    assert missing.code == 1
    assert missing.err.startswith("error: not found")


def test_a_push_after_the_approval_closes_the_gate_and_says_so(desk: Desk):
    """A1 as a person sees it."""
    desk.world.approve(desk.number, "senior")
    desk.world.push(desk.number, "lockgate-bot")
    stale = desk.of_mr("gate", who="lockgate-hub")
    assert (stale.code, "older than the newest push" in stale.out) == (3, True)


def test_a_policy_that_cannot_be_read_is_not_an_absent_one(desk: Desk):
    """A13: exit 2 and the line; never the default in its place. A policy proposed by the merge request is not read."""
    desk.world.approve(desk.number, "senior")
    desk.world.sandbox.as_user("lockgate-bot").push(
        "lockgate/dev/app", {".lockgate.yaml": "approvals: 0\n"}
    )
    assert desk.of_mr("gate", who="lockgate-hub").code == 3
    _commit_on_main(desk, "approvals: lots\n")
    broken = desk.of_mr("gate", who="lockgate-hub")
    assert broken.code == 2
    assert ".lockgate.yaml:1" in broken.err


def _commit_on_main(desk: Desk, policy: str) -> None:
    """Change the policy the one way there is: by a merge request that a maintainer merges."""
    senior = desk.forge.as_user("senior")
    senior.push("policy", {".lockgate.yaml": policy})
    senior.merge(senior.open("policy"))


def test_merge_merges_only_what_the_gate_lets_through_and_once(desk: Desk):
    before = desk.git("rev-parse", "main")
    waits = desk.of_mr("merge")
    assert (waits.code, desk.git("rev-parse", "main")) == (3, before)
    assert "0 of 1 approval" in waits.out
    desk.world.approve(desk.number, "senior")
    # The one who merges is one of ours, and ours never count: nobody approves with the token that merges.
    own = desk.of_mr("merge")
    assert (own.code, desk.git("rev-parse", "main")) == (3, before)
    refused = desk.of_mr("merge", who="junior")
    assert (refused.code, desk.git("rev-parse", "main")) == (4, before)


def test_merge_with_a_token_of_its_own_lands_the_judged_head(forge_with_merger: SandboxForge):
    """D9: whoever merges has a token used for nothing else."""
    desk = Desk(forge_with_merger)
    desk.world.approve(desk.number, "senior")
    head = desk.git("rev-parse", "lockgate/dev/app")
    done = desk.of_mr("merge", "--output", "json", who="merger")
    landed = desk.git("rev-parse", "main")
    assert (done.code, done.answer["landed_sha"]) == (0, landed)
    assert desk.git("rev-parse", f"{landed}^2") == head
    again = desk.of_mr("merge", who="merger")
    assert (again.code, desk.git("rev-parse", "main")) == (0, landed)


@pytest.fixture
def forge_with_merger(start_forge) -> SandboxForge:
    merger = {"username": "merger", "name": "Merger", "role": "maintainer", "bot": True}
    return start_forge({**DEFAULT, "users": [*DEFAULT["users"], merger]})


def test_wait_tells_not_merged_in_time_from_closed(desk: Desk):
    """3 and 4."""
    assert desk.wait().code == 3
    desk.world.forge("lockgate-bot").close_merge_request(desk.number)
    assert desk.wait().code == 4


@pytest.mark.parametrize(
    ("state", "who", "code", "word"),
    [
        (State.SUCCESS, "lockgate-hub", 0, "is live as"),
        (State.FAILED, "lockgate-hub", 1, "is degraded at"),
        (State.CANCELED, "lockgate-hub", 1, "no Application is mapped"),
        (State.RUNNING, "lockgate-hub", 5, "was not live in time"),
        (State.SUCCESS, "junior", 5, "was not live in time"),
    ],
)
def test_wait_ends_as_a_reporter_says(desk: Desk, state: State, who: str, code: int, word: str):
    """0, 1, 5; a success that somebody else wrote is not one (A14, D29)."""
    sha = desk.land()
    desk.report(sha, state, who)
    for done in (desk.wait(), desk.lockgate("wait", "--sha", sha, "--timeout", SECONDS)):
        assert done.code == code
        assert word in done.out


def test_wait_needs_somebody_whose_word_counts(desk: Desk):
    """2: without reporters nobody could ever tell; until merged needs none."""
    sha = desk.land()
    _commit_on_main(desk, "environments:\n  dev:\n    path: dev\n")
    nobody = desk.lockgate("wait", "--sha", sha, "--timeout", SECONDS)
    assert (nobody.code, "names no reporters" in nobody.err) == (2, True)
    assert desk.wait("--until", "merged").code == 0


@pytest.mark.parametrize("more", [(), ("--mr", "1", "--sha", "a" * 40), ("--sha", "main")])
def test_wait_is_told_exactly_one_thing_to_wait_for(desk: Desk, more: tuple[str, ...]):
    """2."""
    assert desk.lockgate("wait", *more).code == 2


def test_status_shows_the_gate_while_open_and_the_clusters_once_merged(desk: Desk):
    opened = desk.of_mr("status")
    assert opened.code == 0
    assert "0 of 1 approval" in opened.out
    sha = desk.land()
    desk.report(sha, State.SUCCESS)
    merged = desk.of_mr("status", "--output", "json").answer
    assert (merged["state"], merged["landed_sha"], merged["gate"]) == ("merged", sha, None)
    places = {each["environment"]: (each["state"], each["by"]) for each in merged["deployments"]}
    assert places["dev/rollout"] == ("success", "lockgate-hub")
    assert "dev/demo/argocd/myapp" in places
