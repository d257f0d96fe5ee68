"""Which merge request a commit came from, and what landed after it.

An agent names the last commit that touched an Application's inputs. Mostly that is the commit a merge request landed
as; after a fast-forward or rebase of several commits it may be an earlier one of them, and a direct push has none.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ci_bot.core.facts import MergeRequest
from ci_bot.core.rollout import AppState, Landed
from ci_bot.errors import ForgeNotFoundError
from ci_bot.forges.port import Forge
from ci_bot.store.tracking import Tracked

ASK_AGAIN_S = 60.0  # a forge may learn where a commit came from a little after the merge
REMEMBERED = 2000
RECENT = timedelta(days=1)


class Origins:
    """Asks the forge where a commit came from, at most once a minute for the same one."""

    def __init__(self, forge: Forge, now: Callable[[], datetime]) -> None:
        self._forge = forge
        self._now = now
        self._asked: dict[str, tuple[float, tuple[int, ...]]] = {}

    def find(self, sha: str, merged: Sequence[Tracked]) -> tuple[int, ...]:
        """Return the merge requests `sha` came from; what landed as it is known without asking."""
        known = tuple(each.number for each in merged if each.landed_sha == sha)
        return known or self._ask(sha)

    def _ask(self, sha: str) -> tuple[int, ...]:
        now_s = self._now().timestamp()
        asked_at, numbers = self._asked.get(sha, (0.0, ()))
        if numbers or now_s - asked_at < ASK_AGAIN_S:
            return numbers
        try:
            found = self._forge.list_merge_requests(landed_sha=sha)
        except ForgeNotFoundError:
            found = ()
        numbers = tuple(each.number for each in found if self._is_recent(each))
        while len(self._asked) >= REMEMBERED:
            del self._asked[next(iter(self._asked))]
        self._asked[sha] = (now_s, numbers)
        return numbers

    def _is_recent(self, merge_request: MergeRequest) -> bool:
        # A hub that is new here does not write on everything that ever landed. What landed while a hub was away
        # is found by its poll.
        at = merge_request.merged_at
        return at is not None and bool(merge_request.landed_sha) and self._now() - at < RECENT

    def translate(self, state: AppState, merged: Sequence[Tracked]) -> AppState:
        """Return `state` with the commit its merge request landed as, where that is another one."""
        if not state.change_revision:
            return state
        numbers = self.find(state.change_revision, merged)
        landed = [each.landed_sha for each in merged if each.number in numbers]
        if not landed or state.change_revision in landed:
            return state
        return replace(state, change_revision=landed[-1])


def find_landed(tracked: Tracked, merged: Sequence[Tracked], states: Sequence[AppState]) -> Landed:
    """Know which commits came after this one: an Application at one of them has moved on.

    What merge requests landed later is known from the forge; of a direct push only the Applications tell.
    """
    order = [each.landed_sha for each in merged if each.target_branch == tracked.target_branch]
    sha = tracked.landed_sha
    newer = set(order[order.index(sha) + 1 :]) if sha in order else set()
    newer |= {
        state.change_revision
        for state in states
        if state.previous_revision in {sha, *newer} and state.change_revision != sha
    }
    merged_at = (
        None if tracked.merged_at is None else datetime.fromtimestamp(tracked.merged_at, UTC)
    )
    return Landed(sha=sha, merged_at=merged_at, newer=frozenset(newer))
