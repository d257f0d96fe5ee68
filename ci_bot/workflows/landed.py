"""What of a target's bumps has landed, and whether a person has taken it back.

Read from the target's history (trailers in commits) and from the merged merge requests of the rolling branch, whose
text carries the same trailers: a squash merge drops the commit's.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ci_bot.core.branches import Trailers, find_trailers
from ci_bot.core.facts import MergeRequest, MergeRequestState
from ci_bot.repo.workspace import Commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """The newest bump of a target that reached the target branch."""

    trailers: Trailers
    text: str  # the message or body that lists what it changed
    where: str
    at: float


def find_landed(
    history: Sequence[Commit], requests: Sequence[MergeRequest], target: str, image: str
) -> Landed | None:
    """Return the newest landed bump of this image and target, or None."""
    found: list[Landed] = []
    for commit in history:
        trailers = find_trailers(commit.message)
        if trailers and (trailers.target, trailers.image) == (target, image):
            where = f"commit {commit.sha[:8]}"
            found.append(Landed(trailers=trailers, text=commit.message, where=where, at=commit.at))
            break
    for mr in requests:
        trailers = find_trailers(mr.body)
        if (
            mr.state is MergeRequestState.MERGED
            and mr.merged_at is not None
            and trailers
            and (trailers.target, trailers.image) == (target, image)
        ):
            where = f"merge request {mr.number}"
            found.append(
                Landed(trailers=trailers, text=mr.body, where=where, at=mr.merged_at.timestamp())
            )
    return max(found, key=lambda landed: landed.at, default=None)


def find_reverted(landed: Landed, files: Collection[str]) -> list[str]:
    """Return the files that bump changed and that would have to be changed again to say the same."""
    return sorted(path for path in files if f"{path}:" in landed.text)
