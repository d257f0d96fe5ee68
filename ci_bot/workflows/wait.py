"""Wait for the outcome of one merge request, or one landed commit, and say it once.

The wait ends on the outcome of *that* commit: a deployment of an earlier one says nothing. Time is injected.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TypeVar

from ci_bot.core.environments import CONFIG_FILE
from ci_bot.core.facts import MergeRequest, MergeRequestState
from ci_bot.core.waiting import Progress, Reading, read_deployments
from ci_bot.errors import ForgeUnavailableError, UsageError
from ci_bot.forges.port import Forge
from ci_bot.workflows.policy import find_config

MIN_INTERVAL_S = 0.5
MAX_INTERVAL_S = 10.0
GROWTH = 1.3
T = TypeVar("T")


class Until(StrEnum):
    MERGED = "merged"
    LIVE = "live"


class Ending(StrEnum):
    MERGED = "merged"
    LIVE = "live"
    DEGRADED = "degraded"
    UNMAPPED = "unmapped"
    CLOSED = "closed"
    NOT_MERGED_IN_TIME = "not-merged-in-time"
    NOT_LIVE_IN_TIME = "not-live-in-time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """How the wait ended, with what was last read."""

    ending: Ending
    merge_request: MergeRequest | None
    landed_sha: str = ""
    reading: Reading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Seconds that only grow, and a way to let them pass."""

    now_s: Callable[[], float]
    sleep_s: Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitRequest:
    """Exactly one of `number` and `sha` says what is waited for."""

    number: int = 0
    sha: str = ""
    until: Until = Until.LIVE
    timeout_s: float = 900.0


class Waiter:
    """One wait. `tell` gets a line whenever what is awaited changes."""

    def __init__(
        self, forge: Forge, request: WaitRequest, clock: Clock, tell: Callable[[str], None]
    ) -> None:
        self._forge = forge
        self._request = request
        self._clock = clock
        self._tell = tell
        self._told = ""
        self._deadline_s = clock.now_s() + request.timeout_s
        self._interval_s = MIN_INTERVAL_S

    def wait(self) -> Waited:
        """Wait to the end. Raises UsageError where nobody could tell the outcome."""
        merge_request = self._find_merge_request()
        if merge_request is not None:
            merge_request = self._wait_merged(merge_request)
            if merge_request.state is MergeRequestState.CLOSED:
                return Waited(ending=Ending.CLOSED, merge_request=merge_request)
            if merge_request.state is MergeRequestState.OPEN:
                return Waited(ending=Ending.NOT_MERGED_IN_TIME, merge_request=merge_request)
        landed_sha = merge_request.landed_sha if merge_request else self._request.sha
        if self._request.until is Until.MERGED:
            return Waited(ending=Ending.MERGED, merge_request=merge_request, landed_sha=landed_sha)
        return self._wait_live(merge_request, landed_sha)

    def _find_merge_request(self) -> MergeRequest | None:
        if self._request.number:
            return self._forge.get_merge_request(self._request.number)
        found = self._forge.list_merge_requests(landed_sha=self._request.sha)
        return found[0] if found else None

    def _wait_merged(self, merge_request: MergeRequest) -> MergeRequest:
        while merge_request.state is MergeRequestState.OPEN:
            self._say(f"waiting for {self._forge.sigil}{merge_request.number} to be merged")
            if not self._pause():
                break
            number = merge_request.number
            merge_request = self._read(
                partial(self._forge.get_merge_request, number), merge_request
            )
        return merge_request

    def _wait_live(self, merge_request: MergeRequest | None, landed_sha: str) -> Waited:
        reporters = self._get_reporters(merge_request)
        reading = read_deployments((), reporters)
        while True:
            reading = self._read(
                lambda: read_deployments(self._forge.list_deployments(sha=landed_sha), reporters),
                reading,
            )
            if reading.progress is not Progress.PENDING:
                ending = Ending(reading.progress.value)
                break
            self._say(describe(reading, landed_sha))
            if not self._pause():
                ending = Ending.NOT_LIVE_IN_TIME
                break
        return Waited(
            ending=ending, merge_request=merge_request, landed_sha=landed_sha, reading=reading
        )

    def _get_reporters(self, merge_request: MergeRequest | None) -> frozenset[str]:
        branch = (
            merge_request.target_branch
            if merge_request
            else self._forge.get_project().default_branch
        )
        config = find_config(self._forge, branch)
        if config is None or not config.reporters:
            raise UsageError(
                f"{CONFIG_FILE} on {branch} names no reporters, so nobody's word on the outcome counts",
                hint="Add `reporters: [<username of the hub's token>]` to it on the target branch.",
            )
        return frozenset(config.reporters)

    def _read(self, read: Callable[[], T], before: T) -> T:
        """Return what the forge says now, or what it said before while it is unavailable."""
        try:
            return read()
        except ForgeUnavailableError as err:
            self._say(f"the forge does not answer ({err.message}); trying on")
            return before

    def _pause(self) -> bool:
        """Let some time pass; False when none is left."""
        left_s = self._deadline_s - self._clock.now_s()
        if left_s <= 0:
            return False
        self._clock.sleep_s(min(self._interval_s, left_s))
        self._interval_s = min(self._interval_s * GROWTH, MAX_INTERVAL_S)
        return True

    def _say(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self._tell(line)


def describe(reading: Reading, landed_sha: str) -> str:
    """Return one line on where a rollout stands."""
    if not reading.rollups:
        said = f"; {reading.ignored} by others ignored" if reading.ignored else ""
        return f"waiting for a first report on {landed_sha[:8]}{said}"
    places = ", ".join(f"{each.environment} {each.state}" for each in reading.places)
    return f"rolling out {landed_sha[:8]}: {places or 'no place reported yet'}"
