"""Forge writes as rows of the outbox: what is owed, under which key, and how it is made.

A row says everything its write needs, so that it can be made by another process after a crash. Making it twice is the
same as making it once: every write is an `ensure_*` or a status that repeats itself.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ci_bot.core.environments import Environment, RepoConfig
from ci_bot.core.facts import CommitStatus, Deployment, MergeRequest, State, User
from ci_bot.core.gate import Verdict, VerdictKind
from ci_bot.core.markdown import clean
from ci_bot.core.repositories import covers
from ci_bot.core.rollout import DEPLOYMENT_STATES, Outcome, OutcomeClass, Rollout, fold
from ci_bot.forges.port import Forge
from ci_bot.store.outbox import Owed

GATE_STATUS = "lockgate/gate"
ROLLOUT_STATUS = "lockgate/rollout"
DESCRIPTION_LIMIT = 140
GATE_STATES = {
    VerdictKind.MERGE: State.SUCCESS,
    VerdictKind.WAIT: State.PENDING,
    VerdictKind.REFUSE: State.FAILED,
}
_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def owe_comment(number: int, marker: str, body: str) -> Owed:
    return Owed(key=f"comment:{number}", body={"number": number, "marker": marker, "body": body})


def owe_gate_status(verdict: Verdict) -> Owed:
    """Owe the gate's status, on the head it was judged at."""
    unmet = "; ".join(verdict.reasons) or "the gate is open"
    return _owe_status(verdict.head_sha, GATE_STATUS, GATE_STATES[verdict.kind], unmet)


def _owe_status(sha: str, name: str, state: State, description: str) -> Owed:
    said = clean(description, DESCRIPTION_LIMIT)
    body = {"sha": sha, "name": name, "state": state.value, "description": said}
    return Owed(key=f"status:{sha}:{name}", body=body)


def plan_rollout_writes(
    rollout: Rollout,
    merge_request: MergeRequest,
    config: RepoConfig,
    changed_paths: Sequence[str],
    me: User,
) -> list[Owed]:
    """Return a deployment per place that has come to an end, a roll-up per environment, and the statuses.

    Places still on their way get no deployment of their own: the roll-up says `running` for all of them.
    """
    sha, ref = rollout.landed.sha, merge_request.target_branch
    by_environment: dict[str, list[Outcome]] = {}
    for outcome in rollout.outcomes:
        name = find_environment(config, outcome.state.path).name
        by_environment.setdefault(name, []).append(outcome)
    if not by_environment:
        names = {find_environment(config, path).name for path in changed_paths}
        by_environment = {name: [] for name in sorted(names)}
    writes: list[Owed] = []
    for name, outcomes in by_environment.items():
        tier = config.environments[name].tier if name in config.environments else "other"
        for environment, state in _deployments(name, outcomes, rollout):
            wanted = Deployment(
                id="", environment=environment, sha=sha, state=state, creator=me, ref=ref, tier=tier
            )
            writes.append(_owe_deployment(wanted))
    writes += [
        _owe_status(sha, f"lockgate/{_place(o)}", DEPLOYMENT_STATES[o.kind], o.why or o.kind)
        for o in rollout.outcomes
    ]
    return [*writes, _owe_status(sha, ROLLOUT_STATUS, rollout.state, _summary(rollout))]


def _deployments(
    name: str, outcomes: Sequence[Outcome], rollout: Rollout
) -> Iterator[tuple[str, State]]:
    ended = (OutcomeClass.LIVE, OutcomeClass.DEGRADED)
    for outcome in outcomes:
        if outcome.kind in ended:
            yield f"{name}/{_place(outcome)}", DEPLOYMENT_STATES[outcome.kind]
    yield f"{name}/rollout", fold([o.state for o in outcomes], rollout.landed).state


def _place(outcome: Outcome) -> str:
    return f"{outcome.state.cluster}/{outcome.state.app}"


def _summary(rollout: Rollout) -> str:
    return f"live in {rollout.count(OutcomeClass.LIVE)} of {len(rollout.outcomes)}"


def find_environment(config: RepoConfig, path: str) -> Environment:
    """Return the environment whose folder holds `path`, the deepest one; else one named after the path."""
    holding = [each for each in config.environments.values() if covers(each.path, path)]
    if holding:
        return max(holding, key=lambda each: len(each.path.strip("/")))
    folder = path.rpartition("/")[0] if "." in path.rpartition("/")[2] else path
    slug = _NOT_SLUG.sub("-", folder.lower()).strip("-") or "root"
    return Environment(name=slug, path=folder or ".")


def _owe_deployment(wanted: Deployment) -> Owed:
    body = {
        "environment": wanted.environment,
        "sha": wanted.sha,
        "state": wanted.state.value,
        "ref": wanted.ref,
        "tier": wanted.tier,
    }
    return Owed(key=f"deployment:{wanted.environment}:{wanted.sha}", body=body)


def make_write(forge: Forge, owed: Owed) -> str:
    """Make one write; return its kind. Raises ForgeError."""
    kind, body = owed.key.partition(":")[0], owed.body
    match kind:
        case "comment":
            forge.ensure_comment(int(body["number"]), str(body["marker"]), str(body["body"]))
        case "status":
            forge.set_status(_status(body))
        case "deployment":
            forge.ensure_deployment(_deployment(body, forge.me))
        case _:
            raise ValueError(f"unknown kind of write: {owed.key}")
    return kind


def _status(body: Any) -> CommitStatus:
    return CommitStatus(
        sha=body["sha"],
        name=body["name"],
        state=State(body["state"]),
        description=body["description"],
    )


def _deployment(body: Any, me: User) -> Deployment:
    return Deployment(
        id="",
        environment=body["environment"],
        sha=body["sha"],
        state=State(body["state"]),
        creator=me,
        ref=body["ref"],
        tier=body["tier"],
    )
