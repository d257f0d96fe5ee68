"""The hub stopped for the whole of a merge: the cluster follows by the agent's poll, the story is told afterwards."""

import time

import pytest

from sandbox.demo_screen import NotYet
from sandbox.settings import CLUSTER
from tests.eventually import eventually
from tests.fixtures_chaos import APPLICATION, HUB_POLL_S, IMAGE, ChaosWorld

pytestmark = pytest.mark.cluster
PLACE = f"dev/{CLUSTER}/argocd/{APPLICATION}"
# One poll with the hub's jitter of a tenth, and the few calls of telling.
WITHIN_S = HUB_POLL_S * 1.1 + 3


def _merge_without_a_hub(world: ChaosWorld, tag: str) -> tuple[int, str]:
    number = world.bumped(tag)
    eventually(lambda: world.senior.require_comment(number, "Waiting"))
    world.stack.stop_part("hub")
    return number, world.merge(number)


def test_the_cluster_follows_and_the_hub_tells_it_when_it_returns(away_world: ChaosWorld):
    """The missed webhook is made up for by the hub's poll, the missed reports by the agent's own outbox."""
    world, tag = away_world, away_world.next_tag()
    number, sha = _merge_without_a_hub(world, tag)
    eventually(lambda: world.cluster.require_pods(f"{IMAGE}:{tag}", 2))
    eventually(lambda: world.cluster.require_application(revision=sha))
    assert "🟢 Live" not in world.our_comments(number)[0]
    assert not [d for d in world.senior.project.deployments.list(get_all=True) if d.sha == sha]

    begun = time.monotonic()
    world.stack.start_part("hub")
    world.require_converged(number, sha, tag)
    assert time.monotonic() - begun < WITHIN_S
    assert sha[:8] in world.our_comments(number)[0]


def test_a_rollout_that_fails_without_a_hub_is_told_as_failed(away_world: ChaosWorld):
    """Comment and deployments equal the agent's last report in class, also where that is Degraded."""
    world, good = away_world, away_world.tag
    broken = f"{world.next_tag()}-broken"
    number, sha = _merge_without_a_hub(world, broken)

    def crash_loops() -> None:
        seen = [pod.reason for pod in world.cluster.pods()]
        revision = world.cluster.application()["status"]["sync"]["revision"]
        if "CrashLoopBackOff" not in seen or revision != sha:
            raise NotYet(f"{seen} at {revision}")

    eventually(crash_loops)
    begun = time.monotonic()
    world.stack.start_part("hub")
    eventually(lambda: world.senior.require_comment(number, "🔴 Degraded", "CrashLoopBackOff"))
    for environment in (PLACE, "dev/rollout"):
        eventually(lambda e=environment: world.senior.require_deployment(e, sha, "failed"))  # type: ignore[misc]
    assert time.monotonic() - begun < WITHIN_S
    assert len(world.our_comments(number)) == 1
    # Leave a healthy world behind, whichever test comes next.
    world.tag = broken
    back = world.propose(good)
    world.require_converged(back, world.merge(back), good)
