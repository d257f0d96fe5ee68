"""What we have to say on a merge request, worked out from the forge, the policy and the agents' last reports.

One `Reporter` speaks for one project and runs in that project's worker thread. It makes no write to the forge: what it
wants said goes into the outbox in the same transaction that records that it was said.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic import TypeAdapter

from ci_bot.core.comments import (
    CommentFacts,
    Transition,
    edit_key,
    make_marker,
    render_comment,
    render_headline,
)
from ci_bot.core.environments import RepoConfig
from ci_bot.core.facts import MergeRequest, MergeRequestState, Project, State
from ci_bot.core.repositories import covers, normalise
from ci_bot.core.rollout import AppState, Landed, Rollout, fold
from ci_bot.forges.port import Forge
from ci_bot.hub.projects import HubProject
from ci_bot.hub.writes import (
    owe_comment,
    owe_gate_status,
    plan_rollout_writes,
)
from ci_bot.store import outbox, tracking
from ci_bot.store.database import Database
from ci_bot.workflows.gate import judge
from ci_bot.workflows.policy import find_config

# An agent that has just been started may be about to say that it maps what changed.
UNMAPPED_GRACE_S = 20.0
# A comment that something goes on is worth less than the one that says how it ended: it waits, and may be overtaken.
PROGRESS_DELAY_S = 1.5
_MERGE_REQUEST = TypeAdapter(MergeRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReporterOptions:
    marker_secret: bytes
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    unmapped_grace_s: float = UNMAPPED_GRACE_S
    progress_delay_s: float = PROGRESS_DELAY_S


class Reporter:
    """Speaks on the merge requests of one project."""

    def __init__(
        self,
        project: HubProject,
        forge: Forge,
        database: Database,
        list_states: Callable[[], Sequence[AppState]],
        options: ReporterOptions,
    ) -> None:
        self._project = project
        self._forge = forge
        self._database = database
        self._list_states = list_states
        self._options = options
        self._facts: Project = forge.get_project()

    # -- what happened ----------------------------------------------------------------------------------------------

    def read_merge_request(self, number: int) -> float | None:
        """Read one merge request afresh and say what there is to say; returns when to look again, in seconds."""
        merge_request = self._forge.get_merge_request(number)
        with self._database.read() as connection:
            known = tracking.find_tracked(connection, self._project.path, number)
        same_head = known is not None and known.facts.get("head_sha") == merge_request.head_sha
        if known is not None and same_head:
            paths = tuple(known.changed_paths)
        else:
            paths = tuple(self._forge.list_changed_paths(number))
        self._track(merge_request, paths)
        match merge_request.state:
            case MergeRequestState.OPEN:
                self._say_gate(merge_request, paths)
                return None
            case MergeRequestState.MERGED:
                return self.say_rollout(number)
            case MergeRequestState.CLOSED:
                if known is not None and known.said:
                    self._say(self._comment_facts(merge_request, apps=()), settled=True)
                return None

    def find_merge_requests(self, landed_sha: str) -> list[int]:
        """Return the merge requests a commit on a branch came from, asking the forge where we do not know."""
        with self._database.read() as connection:
            merged = tracking.list_merged(connection, self._project.path)
        known = [each.number for each in merged if each.landed_sha == landed_sha]
        if known:
            return known
        found = self._forge.list_merge_requests(landed_sha=landed_sha)
        return [each.number for each in found]

    def poll(self) -> list[int]:
        """Return the merge requests that may have changed since the last poll; deliveries may have been missed."""
        with self._database.read() as connection:
            last_s = tracking.find_polled_at(connection, self._project.path)
            open_ones = tracking.list_open(connection, self._project.path)
        now = self._options.now()
        since_s = now.timestamp() - 24 * 3600 if last_s is None else last_s - 60
        since = datetime.fromtimestamp(since_s, UTC)
        changed = self._forge.list_merge_requests(updated_after=since)
        with self._database.write() as connection:
            tracking.save_polled_at(connection, self._project.path, now.timestamp())
        numbers = {each.number for each in changed} | set(open_ones)
        return sorted(numbers | set(self.list_unsettled()))

    def list_unsettled(self) -> list[int]:
        """Return what has landed and is not yet known to be live everywhere."""
        with self._database.read() as connection:
            merged = tracking.list_merged(connection, self._project.path)
        return [each.number for each in merged if not each.settled]

    # -- what is said -----------------------------------------------------------------------------------------------

    def say_rollout(self, number: int) -> float | None:
        """Say what a landed merge request became, from what is stored; reads only policy from the forge."""
        with self._database.read() as connection:
            merged = tracking.list_merged(connection, self._project.path)
        tracked = next((each for each in merged if each.number == number), None)
        if tracked is None:
            return None
        merge_request = _MERGE_REQUEST.validate_python(tracked.facts)
        config = find_config(self._forge, merge_request.target_branch) or RepoConfig()
        landed = self._landed(merge_request, merged)
        states = self._list_affected(merge_request.target_branch, tracked.changed_paths)
        rollout = fold(states, landed)
        age_s = self._age_s(merge_request)
        if rollout.state is State.CANCELED and age_s < self._options.unmapped_grace_s:
            return self._options.unmapped_grace_s - age_s
        writes = plan_rollout_writes(
            rollout, merge_request, config, tuple(tracked.changed_paths), self._forge.me
        )
        facts = self._comment_facts(merge_request, rollout=rollout)
        self._say(facts, writes, settled=rollout.state in {State.SUCCESS, State.CANCELED})
        return None

    def _say_gate(self, merge_request: MergeRequest, paths: tuple[str, ...]) -> None:
        judgement = judge(self._forge, merge_request.number)
        apps = self._list_affected(merge_request.target_branch, paths)
        facts = self._comment_facts(judgement.review.merge_request, apps=apps)
        facts = replace(facts, verdict=judgement.verdict)
        self._say(facts, [owe_gate_status(judgement.verdict)], settled=False)

    def _say(
        self, facts: CommentFacts, writes: Sequence[outbox.Owed] = (), *, settled: bool
    ) -> None:
        """Owe the comment and what goes with it, where it says something new."""
        number, project = facts.merge_request.number, self._project.path
        key = edit_key(facts)
        now_s = self._options.now().timestamp()
        with self._database.write() as connection:
            tracked = tracking.find_tracked(connection, project, number)
            if tracked is not None and tracked.said == key:
                return
            headline = render_headline(facts)
            history = tracking.list_transitions(connection, project, number)
            if not history or history[-1][1] != headline:
                tracking.add_transition(connection, project, number, now_s, headline)
                history.append((now_s, headline))
            shown = replace(facts, history=tuple(_transition(*each) for each in history))
            delay_s = self._options.progress_delay_s if _is_progress(facts.rollout) else 0.0
            comment = owe_comment(number, facts.marker, render_comment(shown))
            outbox.put(connection, project, comment, now_s + delay_s)
            for owed in writes:
                outbox.put(connection, project, owed, now_s)
            tracking.mark_said(connection, project, number, key, settled=settled)

    # -- facts ------------------------------------------------------------------------------------------------------

    def _comment_facts(
        self,
        merge_request: MergeRequest,
        *,
        rollout: Rollout | None = None,
        apps: Sequence[AppState] = (),
    ) -> CommentFacts:
        marker = make_marker(self._options.marker_secret, self._facts.id, merge_request.number)
        return CommentFacts(
            noun=self._forge.noun,
            marker=marker,
            merge_request=merge_request,
            commit_url=self._facts.commit_url,
            rollout=rollout,
            apps=tuple(apps),
        )

    def _list_affected(self, branch: str, paths: Sequence[str]) -> list[AppState]:
        """Return the last known state of every Application that follows `branch` and holds one of `paths`."""
        return [
            state
            for state in self._list_states()
            if normalise(state.repo) in self._project.keys
            and self._follows(state, branch)
            and any(covers(state.path, path) for path in paths)
        ]

    def _follows(self, state: AppState, branch: str) -> bool:
        wanted = state.target_revision.removeprefix("refs/heads/")
        return branch == (self._facts.default_branch if wanted in {"", "HEAD"} else wanted)

    def _landed(self, merge_request: MergeRequest, merged: Sequence[tracking.Tracked]) -> Landed:
        """Know which commits landed after this one: an Application at one of them has moved on."""
        order = [
            each.landed_sha for each in merged if each.target_branch == merge_request.target_branch
        ]
        sha = merge_request.landed_sha
        newer = frozenset(order[order.index(sha) + 1 :]) if sha in order else frozenset()
        return Landed(sha=sha, merged_at=merge_request.merged_at, newer=newer)

    def _age_s(self, merge_request: MergeRequest) -> float:
        if merge_request.merged_at is None:
            return self._options.unmapped_grace_s
        return (self._options.now() - merge_request.merged_at).total_seconds()

    def _track(self, merge_request: MergeRequest, paths: tuple[str, ...]) -> None:
        merged_at = merge_request.merged_at
        tracked = tracking.Tracked(
            number=merge_request.number,
            facts=_MERGE_REQUEST.dump_python(merge_request, mode="json"),
            state=merge_request.state.value,
            target_branch=merge_request.target_branch,
            landed_sha=merge_request.landed_sha,
            merged_at=None if merged_at is None else merged_at.timestamp(),
            changed_paths=paths,
        )
        with self._database.write() as connection:
            tracking.save_tracked(connection, self._project.path, tracked)


def _is_progress(rollout: Rollout | None) -> bool:
    return rollout is not None and rollout.state is State.RUNNING


def _transition(at_s: float, text: str) -> Transition:
    return Transition(at=datetime.fromtimestamp(at_s, UTC), text=text)
