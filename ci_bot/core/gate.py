"""The gate: whether a merge request may merge now, at exactly this head.

`evaluate` is one pure function over facts and policy. It names every requirement with its state, not just the first
that is missing, and closes on anything the forge did not say.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ci_bot.core.approvals import Policy, count_approvals
from ci_bot.core.facts import UNKNOWN, MergeRequestState, Review

__all__ = ["Policy", "Requirement", "Verdict", "VerdictKind", "evaluate"]

SHORT = 8


class VerdictKind(StrEnum):
    MERGE = "merge"
    WAIT = "wait"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One thing the gate asks for. `text` names people and short commit ids, and may hold foreign text."""

    name: str  # state | draft | approvals | changes | people | forge
    met: bool
    text: str
    final: bool = False  # waiting will not change it


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    kind: VerdictKind
    head_sha: str
    requirements: tuple[Requirement, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason why it may not merge now."""
        return tuple(r.text for r in self.requirements if not r.met)


def evaluate(review: Review, policy: Policy) -> Verdict:
    """Judge a merge request by facts read just now; the verdict holds for `head_sha` alone."""
    requirements = tuple(_find_requirements(review, policy))
    unmet = [r for r in requirements if not r.met]
    if not unmet:
        kind = VerdictKind.MERGE
    elif any(r.final for r in unmet):
        kind = VerdictKind.REFUSE
    else:
        kind = VerdictKind.WAIT
    return Verdict(kind=kind, head_sha=review.merge_request.head_sha, requirements=requirements)


def _find_requirements(review: Review, policy: Policy) -> Iterator[Requirement]:
    yield _require_open(review)
    if review.merge_request.draft:
        yield Requirement(name="draft", met=False, text="it is a draft")
    yield _require_approvals(review, policy)
    yield from _require_no_veto(review)
    yield from _require_known_people(review)
    blocker = review.merge_request.merge_blocker
    if blocker:
        yield Requirement(name="forge", met=False, text=f"the forge would not merge: {blocker}")


def _require_open(review: Review) -> Requirement:
    state = review.merge_request.state
    met = state is MergeRequestState.OPEN
    return Requirement(name="state", met=met, text=f"it is {state}", final=not met)


def _require_approvals(review: Review, policy: Policy) -> Requirement:
    head = review.merge_request.head_sha[:SHORT]
    if policy.approvals == 0:
        return Requirement(name="approvals", met=True, text="no approval is asked for by policy")
    if review.approvals is UNKNOWN:
        text = "the forge does not say who approved; the gate stays closed"
        return Requirement(name="approvals", met=False, text=text)
    count = count_approvals(review)
    noun = "approval" if policy.approvals == 1 else "approvals"
    text = f"{len(count.counted)} of {policy.approvals} {noun} on {head}"
    if count.counted:
        text += " by " + ", ".join(f"@{name}" for name in count.counted)
    text = "; ".join([text, *count.rejected])
    met = len(count.counted) >= policy.approvals
    return Requirement(name="approvals", met=met, text=text)


def _require_no_veto(review: Review) -> Iterator[Requirement]:
    if review.vetoes is UNKNOWN:
        text = "the forge does not say whether changes are asked for"
        yield Requirement(name="changes", met=False, text=text)
    elif review.vetoes:
        people = ", ".join(f"@{user.username}" for user in review.vetoes)
        yield Requirement(name="changes", met=False, text=f"changes are asked for by {people}")


def _require_known_people(review: Review) -> Iterator[Requirement]:
    if review.excluded is UNKNOWN:
        text = "the forge does not say who pushed; the gate stays closed"
        yield Requirement(name="people", met=False, text=text)
    elif review.unmapped_emails:
        emails = ", ".join(review.unmapped_emails)
        text = f"nobody on the forge has the address of a committer: {emails}"
        yield Requirement(name="people", met=False, text=text)
