"""Which approvals count, and why the others do not.

An approval is bound to one head: it counts only if it was given after the newest push. It counts only from somebody who
may merge into the target branch, still may work here, does not ask for changes at the same time, and had no hand in
the commits. What the forge did not say is UNKNOWN and never counts.
"""

from dataclasses import dataclass

from ci_bot.core.facts import UNKNOWN, Approval, Review


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a merge needs. Zero approvals must be asked for by name; it is never what silence means."""

    approvals: int = 1

    def __post_init__(self) -> None:
        if self.approvals < 0:
            raise ValueError("approvals cannot be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Approvals that count, by username, and one sentence for each that does not."""

    counted: tuple[str, ...]
    rejected: tuple[str, ...]


def count_approvals(review: Review) -> Count:
    """Sort the approvals of `review`; the caller has checked that they are known."""
    if review.approvals is UNKNOWN:
        return Count(counted=(), rejected=())
    counted: dict[str, str] = {}
    rejected: list[str] = []
    for approval in review.approvals:
        why = find_objection(approval, review)
        if why is None:
            # By id: one person counts once, whatever they are called.
            counted[approval.user.id] = approval.user.username
        else:
            rejected.append(f"approval of @{approval.user.username} does not count: {why}")
    return Count(counted=tuple(counted.values()), rejected=tuple(rejected))


def find_objection(approval: Approval, review: Review) -> str | None:
    """Return why this approval does not count, or None where it does."""
    objections = (
        _find_person_objection(approval),
        _find_part_objection(approval, review),
        _find_time_objection(approval, review),
    )
    return next((why for why in objections if why is not None), None)


def _find_person_objection(approval: Approval) -> str | None:
    if not approval.active:
        return "the account is blocked or gone"
    if approval.can_merge is UNKNOWN:
        return "the forge does not say whether this person may merge"
    return (
        None if approval.can_merge is True else "this person may not merge into the target branch"
    )


def _find_part_objection(approval: Approval, review: Review) -> str | None:
    if review.excluded is UNKNOWN:
        return "the forge does not say who pushed"
    if approval.user.id in review.excluded:
        return "author, pusher or committer of the change"
    if review.vetoes is UNKNOWN or any(veto.id == approval.user.id for veto in review.vetoes):
        return "the same person asks for changes"
    return None


def _find_time_objection(approval: Approval, review: Review) -> str | None:
    if approval.at is UNKNOWN or review.head_pushed_at is UNKNOWN:
        return "the forge does not say whether it came after the newest push"
    return None if approval.at > review.head_pushed_at else "it is older than the newest push"
