"""What `lockgate wait` concludes from the deployments on one landed commit.

The roll-up deployment `<env>/rollout` decides, and only one that a reporter of the config repo wrote: anybody with
Developer rights can write "success". The others are detail for the reader.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ci_bot.core.facts import Deployment, State

ROLLUP = "/rollout"


class Progress(StrEnum):
    PENDING = "pending"
    LIVE = "live"
    DEGRADED = "degraded"
    UNMAPPED = "unmapped"  # no Application is mapped to what the commit changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The newest trusted word on each environment of one commit."""

    progress: Progress
    rollups: tuple[Deployment, ...]
    places: tuple[Deployment, ...]  # one per cluster and Application
    ignored: int  # deployments that nobody trusted wrote


def read_deployments(deployments: Sequence[Deployment], reporters: Collection[str]) -> Reading:
    """Judge `deployments` of one commit, given newest first."""
    trusted = [each for each in deployments if each.creator.username in reporters]
    newest = keep_newest(trusted)
    rollups = tuple(each for each in newest if each.environment.endswith(ROLLUP))
    return Reading(
        progress=_judge({each.state for each in rollups}),
        rollups=rollups,
        places=tuple(each for each in newest if not each.environment.endswith(ROLLUP)),
        ignored=len(deployments) - len(trusted),
    )


def keep_newest(deployments: Iterable[Deployment]) -> list[Deployment]:
    """Return the newest word on each environment, by name; `deployments` are given newest first."""
    newest: dict[str, Deployment] = {}
    for each in deployments:
        newest.setdefault(each.environment, each)
    return [newest[name] for name in sorted(newest)]


def _judge(states: set[State]) -> Progress:
    if State.FAILED in states:
        return Progress.DEGRADED
    if not states or states & {State.PENDING, State.RUNNING}:
        return Progress.PENDING
    # One environment that is live and one that maps to nothing: what could become live is.
    return Progress.LIVE if State.SUCCESS in states else Progress.UNMAPPED
