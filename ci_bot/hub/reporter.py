"""What we have to say on a merge request, worked out from the forge, the policy and the agents' last reports.

One `Reporter` speaks for one project and runs in that project's worker thread. It makes no write to the forge: what it
wants said goes into the outbox in the same transaction that records that it was said.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from pydantic import TypeAdapter

from ci_bot.core.comments import (
    LIVE_HEADLINE,
    CommentFacts,
    Transition,
    edit_key,
    make_marker,
    render_comment,
    render_headline,
)
from ci_bot.core.environments import RepoConfig
from ci_bot.core.facts import MergeRequest, MergeRequestState, Project, State
from ci_bot.core.gate import Requirement, Verdict, VerdictKind
from ci_bot.core.repositories import covers, normalise
from ci_bot.core.rollout import AppState, OutcomeClass, Rollout, fold
from ci_bot.errors import ConfigError
from ci_bot.forges.port import Forge
from ci_bot.hub.origins import Origins, find_landed
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
FIRST_LOOK_S = 24 * 3600.0  # how far back a hub looks that never polled before
OVERLAP_S = 60.0  # two clocks
CONFIG_KEPT_S = 10.0
ENDED = (OutcomeClass.LIVE, OutcomeClass.DEGRADED)
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """Merge requests that reports touch: landed ones, ones not read yet, open ones that show other states."""

    landed: tuple[int, ...]
    unread: tuple[int, ...]
    open: tuple[int, ...]


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
        self._origins = Origins(forge, options.now)
        self._shown: dict[int, object] = {}  # what open merge requests say of Applications now
        self._configs: dict[str, tuple[float, RepoConfig]] = {}

    # -- what happened ----------------------------------------------------------------------------------------------

    def read_merge_request(self, number: int) -> float | None:
        """Read one merge request afresh and say what there is to say; returns when to look again, in seconds."""
        merge_request = self._forge.get_merge_request(number)
        with self._database.read() as connection:
            known = tracking.find_tracked(connection, self._project.path, number)
        if known is not None and _same_change(known, merge_request):
            paths = tuple(known.changed_paths)
        else:
            paths = tuple(self._forge.list_changed_paths(number))
        self._track(merge_request, paths)
        match merge_request.state:
            case MergeRequestState.OPEN:
                return self._say_gate(merge_request, paths)
            case MergeRequestState.MERGED:
                return self.say_rollout(number)
            case MergeRequestState.CLOSED:
                if known is not None and known.said:
                    self._say(self._comment_facts(merge_request, apps=()), settled=True)
                return None

    def find_merge_requests(self, sha: str) -> list[int]:
        """Return the merge requests a commit on a branch came from."""
        return list(self._origins.find(sha, self._list_merged()))

    def poll(self) -> tuple[list[int], float]:
        """Return the merge requests that may have changed since the last poll, and what to save once they are read."""
        with self._database.read() as connection:
            last_s = tracking.find_polled_at(connection, self._project.path)
            open_ones = [each.number for each in tracking.list_open(connection, self._project.path)]
        now_s = self._options.now().timestamp()
        since_s = now_s - FIRST_LOOK_S if last_s is None else last_s - OVERLAP_S
        since = datetime.fromtimestamp(since_s, UTC)
        changed = self._forge.list_merge_requests(updated_after=since)
        unsettled = [each.number for each in self._list_merged() if not each.settled]
        return sorted({each.number for each in changed}.union(open_ones, unsettled)), now_s

    def save_polled(self, at_s: float) -> None:
        """Record that everything up to `at_s` was read: the next poll begins there."""
        with self._database.write() as connection:
            tracking.save_polled_at(connection, self._project.path, at_s)

    def find_touched(self) -> Touched:
        """Return the merge requests that the agents' last reports may have something to say on."""
        merged = self._list_merged()
        states = self._list_ours()
        at = {state.change_revision for state in states} - {""}
        origins = {number for sha in at for number in self._origins.find(sha, merged)}
        landed = {each.number for each in merged}
        unsettled = {each.number for each in merged if not each.settled}
        return Touched(
            landed=tuple(sorted((origins & landed) | unsettled)),
            unread=tuple(sorted(origins - landed)),
            open=tuple(self._list_open_changed(states)),
        )

    def _list_open_changed(self, states: Sequence[AppState]) -> list[int]:
        with self._database.read() as connection:
            found = tracking.list_open(connection, self._project.path)
        return [
            each.number
            for each in found
            if self._shown.get(each.number)
            != _looks(self._choose(states, each.target_branch, each.changed_paths))
        ]

    # -- what is said -----------------------------------------------------------------------------------------------

    def say_rollout(self, number: int) -> float | None:
        """Say what a landed merge request became, from what is stored; returns when to look again, in seconds."""
        merged = self._list_merged()
        tracked = next((each for each in merged if each.number == number), None)
        if tracked is None:
            return None
        merge_request = _MERGE_REQUEST.validate_python(tracked.facts)
        states = self._choose(self._list_ours(), tracked.target_branch, tracked.changed_paths)
        states = [self._origins.translate(state, merged) for state in states]
        landed = find_landed(tracked, merged, states)
        if tracked.settled and any(state.change_revision != landed.sha for state in states):
            # How it ended has been said. What later changes made of these Applications is told on those.
            return None
        rollout = fold(states, landed)
        if tracked.settled and rollout.state is State.RUNNING:
            # A heal or a restart after the end: told once it is over, or once it turns out to be more.
            return None
        age_s = self._age_s(merge_request)
        if rollout.state is State.CANCELED and age_s < self._options.unmapped_grace_s:
            return self._options.unmapped_grace_s - age_s
        config = self._find_config(merge_request.target_branch)
        writes = plan_rollout_writes(
            rollout, merge_request, config, tuple(tracked.changed_paths), self._forge.me
        )
        facts = self._comment_facts(merge_request, rollout=rollout)
        self._say(facts, writes, settled=all(o.kind in ENDED for o in rollout.outcomes))
        return None

    def _say_gate(self, merge_request: MergeRequest, paths: tuple[str, ...]) -> float | None:
        apps = self._choose(self._list_ours(), merge_request.target_branch, paths)
        try:
            judgement = judge(self._forge, merge_request.number)
            merge_request, verdict = judgement.review.merge_request, judgement.verdict
        except ConfigError as err:
            verdict = _close(merge_request, err.message)
        if merge_request.state is not MergeRequestState.OPEN:
            # Merged or closed while it was being judged: there is no gate any more, so look at once again.
            return 0.0
        facts = replace(self._comment_facts(merge_request, apps=apps), verdict=verdict)
        self._say(facts, [owe_gate_status(verdict)], settled=False)
        self._shown[merge_request.number] = _looks(apps)
        return None

    def _say(
        self, facts: CommentFacts, writes: Sequence[outbox.Owed] = (), *, settled: bool
    ) -> None:
        """Owe the comment and what goes with it, where it says something new."""
        number, project = facts.merge_request.number, self._project.path
        key = edit_key(_under_way(facts))
        now_s = self._options.now().timestamp()
        with self._database.write() as connection:
            tracked = tracking.find_tracked(connection, project, number)
            if tracked is not None and tracked.said == key:
                return
            history = tracking.list_transitions(connection, project, number)
            facts = _with_first_live(facts, history)
            headline = render_headline(facts)
            if not history or history[-1][1] != headline:
                at_s = _find_live_s(facts.rollout, now_s)
                tracking.add_transition(connection, project, number, at_s, headline)
                history.append((at_s, headline))
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

    def _list_merged(self) -> list[tracking.Tracked]:
        with self._database.read() as connection:
            return tracking.list_merged(connection, self._project.path)

    def _list_ours(self) -> list[AppState]:
        """Return the last known state of every Application of this project's repositories, offline ones too."""
        keys = self._project.keys
        return [state for state in self._list_states() if normalise(state.repo) in keys]

    def _choose(
        self, states: Sequence[AppState], branch: str, paths: Sequence[str]
    ) -> list[AppState]:
        """Return what follows `branch` and holds one of `paths`: the places a change is expected in."""
        return [
            state
            for state in states
            if self._follows(state, branch) and any(covers(state.path, path) for path in paths)
        ]

    def _follows(self, state: AppState, branch: str) -> bool:
        wanted = state.target_revision.removeprefix("refs/heads/")
        return branch == (self._facts.default_branch if wanted in {"", "HEAD"} else wanted)

    def _find_config(self, branch: str) -> RepoConfig:
        """Return environments and tiers. A broken file names no environment; the gate is where it is complained of."""
        known = self._configs.get(branch)
        now_s = self._options.now().timestamp()
        if known is not None and now_s - known[0] < CONFIG_KEPT_S:
            return known[1]
        try:
            config = find_config(self._forge, branch) or RepoConfig()
        except ConfigError as err:
            log.warning("policy not read", project=self._project.path, message=err.message)
            config = RepoConfig()
        self._configs[branch] = (now_s, config)
        return config

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


def _same_change(known: tracking.Tracked, merge_request: MergeRequest) -> bool:
    same_head = known.facts.get("head_sha") == merge_request.head_sha
    return same_head and known.target_branch == merge_request.target_branch


def _looks(states: Sequence[AppState]) -> object:
    return tuple((s.cluster, s.app, s.change_revision, s.sync, s.health) for s in states)


def _close(merge_request: MergeRequest, why: str) -> Verdict:
    """Return the verdict where the policy cannot be read: nothing is opened by it."""
    requirement = Requirement(name="policy", met=False, text=why)
    return Verdict(
        kind=VerdictKind.WAIT, head_sha=merge_request.head_sha, requirements=(requirement,)
    )


def _under_way(facts: CommentFacts) -> CommentFacts:
    """Return `facts` as far as they are worth an edit: that one more place has begun is not, that it ended is.

    So a rollout edits its comment when it lands, when the first place begins, and once per place that ends.
    """
    rollout = facts.rollout
    if rollout is None or {o.kind for o in rollout.outcomes} <= {OutcomeClass.WAITING}:
        return facts
    begun = tuple(
        replace(o, kind=OutcomeClass.ROLLING) if o.kind is OutcomeClass.WAITING else o
        for o in rollout.outcomes
    )
    return replace(facts, rollout=replace(rollout, outcomes=begun))


def _find_live_s(rollout: Rollout | None, now_s: float) -> float:
    """Return when it became live, by the agents' clocks but not in our future; `now_s` where it is not live."""
    live_at = None if rollout is None else rollout.live_at
    return now_s if live_at is None else min(live_at.timestamp(), now_s)


def _with_first_live(facts: CommentFacts, history: Sequence[tuple[float, str]]) -> CommentFacts:
    """Let a rollout that was live before keep its time: only the first one says how long the change took."""
    said = next((at_s for at_s, text in history if text.startswith(LIVE_HEADLINE)), None)
    if facts.rollout is None or said is None:
        return facts
    first = datetime.fromtimestamp(said, UTC)
    return replace(facts, rollout=replace(facts.rollout, first_live_at=first))


def _is_progress(rollout: Rollout | None) -> bool:
    return rollout is not None and rollout.state is State.RUNNING


def _transition(at_s: float, text: str) -> Transition:
    return Transition(at=datetime.fromtimestamp(at_s, UTC), text=text)
