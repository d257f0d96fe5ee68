"""The state of one merge request: itself, its gate, and what became of it."""

from dataclasses import dataclass

from ci_bot.core.facts import Deployment, MergeRequest, MergeRequestState
from ci_bot.core.gate import Verdict
from ci_bot.core.waiting import keep_newest
from ci_bot.forges.port import Forge
from ci_bot.workflows.gate import judge


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestStatus:
    merge_request: MergeRequest
    verdict: Verdict | None  # while it is open
    deployments: tuple[Deployment, ...]  # newest word per environment, once it is merged


def get_status(forge: Forge, number: int) -> MergeRequestStatus:
    """Return what there is to know now."""
    merge_request = forge.get_merge_request(number)
    match merge_request.state:
        case MergeRequestState.OPEN:
            judgement = judge(forge, number)
            return MergeRequestStatus(
                merge_request=judgement.review.merge_request,
                verdict=judgement.verdict,
                deployments=(),
            )
        case MergeRequestState.MERGED:
            found = forge.list_deployments(sha=merge_request.landed_sha)
            return MergeRequestStatus(
                merge_request=merge_request, verdict=None, deployments=tuple(keep_newest(found))
            )
        case MergeRequestState.CLOSED:
            return MergeRequestStatus(merge_request=merge_request, verdict=None, deployments=())
