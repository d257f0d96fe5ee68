"""Read the facts of a merge request and judge them."""

from dataclasses import dataclass

from ci_bot.core.environments import RepoConfig
from ci_bot.core.facts import Review
from ci_bot.core.gate import Policy, Verdict, evaluate
from ci_bot.forges.port import Forge
from ci_bot.workflows.policy import find_config


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with the facts it was made from."""

    review: Review
    verdict: Verdict


def judge(forge: Forge, number: int) -> Judgement:
    """Judge merge request `number` by facts and policy read just now."""
    review = forge.get_review(number)
    config = find_config(forge, review.merge_request.target_branch) or RepoConfig()
    verdict = evaluate(review, Policy(approvals=config.approvals))
    return Judgement(review=review, verdict=verdict)
