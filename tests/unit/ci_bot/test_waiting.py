"""`wait` and `merge` as workflows over the port: whose word counts, and how each ends."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from ci_bot.core.facts import Deployment, MergeRequestState, MergeResult, State, User
from ci_bot.core.waiting import Progress, read_deployments
from ci_bot.errors import ForgeUnavailableError, UsageError
from ci_bot.forges.port import Forge
from ci_bot.workflows.merge import merge
from ci_bot.workflows.wait import Clock, Ending, Until, Waited, Waiter, WaitRequest
from tests.fake_forge import FakeForge
from tests.fake_world import World

CONFIG = b"environments:\n  dev:\n    path: dev\nreporters: [lockgate-hub]\n"
HUB, STRANGER = User(id="1", username="lockgate-hub"), User(id="2", username="stranger")


def deployment(environment: str, state: State, creator: User = HUB, sha: str = "a") -> Deployment:
    return Deployment(id="", environment=environment, sha=sha, state=state, creator=creator)


@pytest.mark.parametrize(
    ("states", "progress"),
    [
        ((), Progress.PENDING),
        ((State.RUNNING,), Progress.PENDING),
        ((State.SUCCESS,), Progress.LIVE),
        ((State.FAILED, State.RUNNING), Progress.DEGRADED),
        ((State.SUCCESS, State.RUNNING), Progress.PENDING),
        ((State.CANCELED,), Progress.UNMAPPED),
        ((State.SUCCESS, State.CANCELED), Progress.LIVE),
    ],
)
def test_the_rollups_decide(states: tuple[State, ...], progress: Progress):
    found = [deployment(f"e{n}/rollout", state) for n, state in enumerate(states)]
    assert read_deployments(found, {"lockgate-hub"}).progress is progress


def test_a_forged_success_is_ignored_and_counted():
    """A14, D29: anybody with Developer rights can write a deployment."""
    reading = read_deployments(
        [deployment("dev/rollout", State.SUCCESS, STRANGER)], {"lockgate-hub"}
    )
    assert (reading.progress, reading.ignored) == (Progress.PENDING, 1)


def test_the_newest_word_on_an_environment_counts():
    found = [deployment("dev/rollout", State.FAILED), deployment("dev/rollout", State.SUCCESS)]
    assert read_deployments(found, {"lockgate-hub"}).progress is Progress.DEGRADED


@dataclass
class Story:
    """A world in which something happens each time somebody waits."""

    world: World = field(default_factory=World)
    events: list[Callable[[], object]] = field(default_factory=list)
    passed_s: float = 0.0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world.put_file(".lockgate.yaml", CONFIG)
        self.number = self.world.open()

    def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        if self.events:
            self.events.pop(0)()

    def wait(self, until: Until = Until.LIVE, sha: str = "", timeout_s: float = 60) -> Waited:
        request = WaitRequest(
            number=0 if sha else self.number, sha=sha, until=until, timeout_s=timeout_s
        )
        clock = Clock(now_s=lambda: self.passed_s, sleep_s=self.sleep)
        return Waiter(FakeForge(self.world), request, clock, self.said.append).wait()

    def land(self) -> str:
        return self.world.land(self.number, self.world.senior)

    def deploy(self, state: State, by: User | None = None) -> Deployment:
        sha = self.world.merge_requests[self.number].landed_sha
        hub: Forge = FakeForge(self.world, me=by or self.world.hub)
        return hub.ensure_deployment(replace(deployment("dev/rollout", state), sha=sha))


def test_a_wait_sees_the_merge_and_then_the_outcome():
    story = Story()
    story.events = [
        story.land,
        lambda: story.deploy(State.RUNNING),
        lambda: story.deploy(State.SUCCESS),
    ]
    waited = story.wait()
    assert waited.ending is Ending.LIVE
    assert waited.landed_sha == story.world.merge_requests[story.number].landed_sha
    assert "to be merged" in story.said[0]


def test_a_degraded_rollout_ends_the_wait_at_once():
    story = Story()
    story.land()
    story.deploy(State.FAILED)
    assert story.wait().ending is Ending.DEGRADED
    assert story.passed_s == 0


def test_a_stranger_cannot_end_the_wait():
    story = Story()
    story.land()
    story.deploy(State.SUCCESS, by=story.world.junior)
    assert story.wait().ending is Ending.NOT_LIVE_IN_TIME


def test_until_merged_needs_no_reporters():
    story = Story()
    story.world.put_file(".lockgate.yaml", b"environments: {}\n")
    story.events = [story.land]
    assert story.wait(Until.MERGED).ending is Ending.MERGED


def test_not_merged_in_time_and_closed_are_told_apart():
    story = Story()
    assert story.wait().ending is Ending.NOT_MERGED_IN_TIME
    story.events = [lambda: story.world.set_state(story.number, MergeRequestState.CLOSED)]
    assert story.wait(timeout_s=120).ending is Ending.CLOSED


@pytest.mark.parametrize("config", [None, b"environments: {}\n"])
def test_without_reporters_nobody_could_tell_and_that_is_said(config: bytes | None):
    story = Story()
    story.land()
    story.world.files["main"].clear()
    if config is not None:
        story.world.put_file(".lockgate.yaml", config)
    with pytest.raises(UsageError, match="names no reporters"):
        story.wait()


def test_an_unmapped_change_is_not_success():
    story = Story()
    story.land()
    story.deploy(State.CANCELED)
    assert story.wait().ending is Ending.UNMAPPED


def test_a_commit_can_be_waited_for_without_its_merge_request():
    story = Story()
    sha = story.land()
    story.deploy(State.SUCCESS)
    assert story.wait(sha=sha).ending is Ending.LIVE


def test_a_forge_that_is_away_for_a_while_does_not_end_the_wait():
    story = Story()
    story.land()

    def fail(method: str, stage: str) -> Exception | None:
        away = method == "list_deployments" and stage == "before" and story.passed_s < 5
        return ForgeUnavailableError("502") if away else None

    story.world.fail = fail
    story.deploy(State.SUCCESS)
    assert story.wait().ending is Ending.LIVE
    assert any("does not answer" in line for line in story.said)


def test_merge_merges_exactly_what_was_judged():
    story = Story()
    story.world.approve(story.number, story.world.senior)
    attempt = merge(
        FakeForge(story.world, me=story.world.add_person("merger", level=40)), story.number
    )
    assert attempt.outcome.result is MergeResult.MERGED


def test_a_push_between_the_check_and_the_merge_stops_the_merge():
    """A2: the judged head travels with the merge."""
    story = Story()
    story.world.approve(story.number, story.world.senior)
    story.world.before_merge = lambda: story.world.push(story.number)
    attempt = merge(
        FakeForge(story.world, me=story.world.add_person("merger", level=40)), story.number
    )
    assert attempt.outcome.result is MergeResult.WAITING
    assert story.world.merge_requests[story.number].state is MergeRequestState.OPEN


def test_merge_without_approval_waits_with_the_reasons():
    story = Story()
    attempt = merge(FakeForge(story.world), story.number)
    assert attempt.outcome.result is MergeResult.WAITING
    assert "0 of 1 approval" in attempt.outcome.reason


def test_merging_a_merged_one_is_done():
    story = Story()
    story.land()
    assert merge(FakeForge(story.world), story.number).outcome.result is MergeResult.MERGED
