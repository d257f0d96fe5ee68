"""Merge what was judged, at exactly the head it was judged at."""

from dataclasses import dataclass

from ci_bot.core.facts import MergeOutcome, MergeRequestState, MergeResult
from ci_bot.core.gate import Verdict, VerdictKind
from ci_bot.forges.port import Forge
from ci_bot.workflows.gate import judge


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeAttempt:
    """What came of it; `verdict` is None where it was merged before we came."""

    outcome: MergeOutcome
    verdict: Verdict | None = None


def merge(forge: Forge, number: int) -> MergeAttempt:
    """Judge and, where the verdict is Merge, merge with the judged head as the forge's expectation.

    A push between the judgement and the merge makes the forge refuse; nothing is tried again here, since the new
    head has no approval.
    """
    merge_request = forge.get_merge_request(number)
    if merge_request.state is MergeRequestState.MERGED:
        outcome = MergeOutcome(result=MergeResult.MERGED, merge_request=merge_request)
        return MergeAttempt(outcome=outcome)
    judgement = judge(forge, number)
    verdict = judgement.verdict
    if verdict.kind is not VerdictKind.MERGE:
        refused = verdict.kind is VerdictKind.REFUSE
        outcome = MergeOutcome(
            result=MergeResult.REFUSED if refused else MergeResult.WAITING,
            merge_request=judgement.review.merge_request,
            reason="; ".join(verdict.reasons),
        )
        return MergeAttempt(outcome=outcome, verdict=verdict)
    return MergeAttempt(outcome=forge.merge(number, head_sha=verdict.head_sha), verdict=verdict)
