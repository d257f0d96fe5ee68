"""A real hub process between the sandbox forge and an agent's end of the wire."""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protos.lockgate.v1 import agent_pb2 as pb
from sandbox.forge import SandboxForge
from tests.eventually import eventually
from tests.hub_world import MARKER_SECRET, WEBHOOK_SECRET, HubWorld

LIVE = "### 🟢 Live in"
PLACE = "dev/dev-1/argocd/myapp"


@pytest.fixture
def world(tmp_path: Path, forge: SandboxForge) -> Iterator[HubWorld]:
    made = HubWorld(tmp_path, forge)
    made.start()
    yield made
    made.close()


def until(check: Callable[[], bool], deadline_s: float = 15) -> None:
    def checked() -> None:
        assert check()

    eventually(checked, deadline_s=deadline_s)


def connect(world: HubWorld, epoch: str = "e1"):
    agent = world.agent(epoch=epoch)
    until(agent.welcomed)
    return agent


def test_a_push_reaches_the_agents_stream_at_once(world: HubWorld):
    """Webhook → durable insert → hint on the wire; printed, and far below a poll."""
    agent = connect(world)
    agent.report(world.main())
    until(lambda: agent.acknowledged() == 1)
    spent = []
    for number in range(30):
        sha = f"{number:040x}"
        body = {
            "object_kind": "push",
            "ref": "refs/heads/main",
            "after": sha,
            "project": {"id": 1, "path_with_namespace": world.forge.project_path},
        }
        begun = time.perf_counter()
        assert world.deliver(body, f"push-{number}") == 200
        until(lambda n=number: len(agent.hints()) == n + 1)  # type: ignore[misc]
        spent.append(agent.hints()[-1][0] - begun)
    hint = agent.hints()[-1][1]
    assert (hint.repo, hint.ref) == (world.forge.clone_url, "refs/heads/main")
    p50, worst = statistics.median(spent) * 1000, max(spent) * 1000
    print(f"webhook sent → hint at the agent: p50 {p50:.1f} ms, worst of 30 {worst:.1f} ms")
    assert p50 < 250


def test_from_an_open_gate_to_live(world: HubWorld):
    """The whole of the hub's part: gate, merge, rollout, comment, deployments, drift."""
    world.hook()
    agent = connect(world)
    agent.report(world.main())
    number = world.bump()
    until(lambda: len(world.comments(number)) == 1)
    assert "Waiting: 0 of 1 approval" in world.comment(number)
    sha = world.merge(number)
    until(lambda: world.deployments(sha).get("dev/rollout") == "running")
    agent.report(sha, health=pb.PROGRESSING)
    agent.report(sha)
    until(lambda: LIVE in world.comment(number))
    until(lambda: world.deployments(sha) == {"dev/rollout": "success", PLACE: "success"})
    seen = pb.Drift(resource="Deployment myapp/myapp", field="spec.replicas", manager="kubectl")
    seen.seen_at.GetCurrentTime()
    report = pb.ApplicationReport(seq=4)
    report.CopyFrom(last_report(agent, sha))
    report.drift.append(seen)
    agent.say(report=report)
    until(lambda: "kubectl" in world.comment(number))
    assert len(world.comments(number)) == 1


def last_report(agent, sha: str):
    agent._seq += 1
    report = pb.ApplicationReport(
        seq=agent._seq,
        app="argocd/myapp",
        repo=agent.repo,
        path="dev",
        target_revision="HEAD",
        change_revision=sha,
        sync=pb.SYNCED,
        health=pb.HEALTHY,
    )
    report.applied_at.GetCurrentTime()
    report.healthy_since.GetCurrentTime()
    return report


def test_what_happened_while_the_hub_was_away_is_told_when_it_returns(
    tmp_path: Path, forge: SandboxForge
):
    """Acceptance 6, W6: no webhook at all, and the whole merge missed; one poll and it is right."""
    world = HubWorld(tmp_path, forge, poll_s=1)
    try:
        world.start()
        agent = connect(world)
        agent.report(world.main())
        until(lambda: agent.acknowledged() == 1)
        number = world.bump()
        until(lambda: len(world.comments(number)) == 1)
        assert world.stop() == 0
        agent.close()
        sha = world.merge(number)
        world.start()
        back = connect(world, epoch="e2")
        back.report(sha)
        until(lambda: LIVE in world.comment(number))
        until(lambda: world.deployments(sha) == {"dev/rollout": "success", PLACE: "success"})
    finally:
        world.close()


def test_repeated_and_reordered_deliveries_leave_one_comment(world: HubWorld):
    """W5: a hundred of the same, and old ones after new ones; state is read from the API."""
    first, second = world.bump("1.2"), world.bump("1.3")
    for number in range(100):
        assert world.deliver(world.about(first), f"same-{number % 2}") == 200
    for delivery in ("late-3", "late-2", "late-1", "late-3"):
        assert world.deliver(world.about(second), delivery) == 200
    until(lambda: bool(world.comments(first)) and bool(world.comments(second)))
    world.forge.as_user("senior").close(first)
    world.deliver(world.about(first), "closed")
    world.deliver(world.about(first), "opened-long-ago")
    until(lambda: "was closed" in world.comment(first))
    assert len(world.comments(second)) == 1
    assert world.rows("SELECT count(*) FROM deliveries") == [(2 + 3 + 2,)]


def test_what_is_not_ours_is_taken_and_stored_nowhere(world: HubWorld):
    """W7, W8: another repository, also with the right secret; and no wrong secret for ours."""
    assert world.deliver(world.about(1, "stranger/config"), "foreign") == 200
    assert world.deliver(world.about(1), "forged", token="guessed") == 401
    assert world.rows("SELECT count(*) FROM deliveries") == [(0,)]


def test_a_kill_between_the_answer_and_the_work_loses_nothing(world: HubWorld):
    """W7: answered, killed while the forge is being asked, started again: worked on, once."""
    number = world.bump()
    hang = world.forge.faults.add("hang", method="GET", path="/merge_requests/", seconds=60)
    assert world.deliver(world.about(number), "only") == 200
    until(lambda: hang.hits == 1)
    print("kill point: delivery answered, forge being asked")
    assert world.rows("SELECT done_at FROM deliveries") == [(None,)]
    assert world.comments(number) == []
    world.kill()
    world.forge.faults.clear()
    world.start()
    until(lambda: len(world.comments(number)) == 1)
    until(lambda: world.rows("SELECT count(*) FROM deliveries WHERE done_at IS NULL") == [(0,)])
    assert len(world.comments(number)) == 1


def test_a_kill_after_the_forge_took_a_comment_leaves_one(world: HubWorld):
    """F2, I3: the comment is there, the hub does not know it, and looks before it writes."""
    number = world.bump()
    hang = world.forge.faults.add("hang_after", method="POST", path="/notes", seconds=60)
    world.deliver(world.about(number), "only")
    until(lambda: hang.hits == 1 and len(world.comments(number)) == 1)
    print("kill point: comment taken by the forge, reply not read")
    assert world.rows("SELECT count(*) FROM outbox WHERE key LIKE 'comment:%'") == [(1,)]
    world.kill()
    world.forge.faults.clear()
    world.start()
    until(lambda: world.rows("SELECT count(*) FROM outbox") == [(0,)])
    assert len(world.comments(number)) == 1


def test_a_kill_after_a_report_was_acknowledged_keeps_it(world: HubWorld):
    """Acknowledged is stored: the rollout is told from it though the agent says nothing more."""
    agent = connect(world)
    agent.report(world.main())
    number = world.bump()
    sha = world.merge(number)
    seq = agent.report(sha)
    until(lambda: agent.acknowledged() == seq)
    print("kill point: report acknowledged")
    world.kill()
    world.start()
    until(lambda: bool(world.comments(number)) and LIVE in world.comment(number))


def test_the_newest_stream_of_an_agent_owns_its_name(world: HubWorld):
    """D4: the older one is ended, and a new process loses nothing of what was reported before."""
    older = connect(world)
    older.report(world.main())
    until(lambda: older.acknowledged() == 1)
    newer = connect(world, epoch="e2")
    assert older.ended.wait(10)
    newer.say(digest=pb.InventoryDigest())
    newer.say(heartbeat=pb.Heartbeat())
    newer.report(world.main(), app="argocd/second")
    until(lambda: newer.acknowledged() == 1)
    assert world.rows("SELECT app FROM reports ORDER BY app") == [
        ("argocd/myapp",),
        ("argocd/second",),
    ]


def test_a_digest_that_differs_asks_for_everything_again(world: HubWorld):
    """What was lost on the way is found by comparing, not by hoping."""
    agent = connect(world)
    entry = pb.InventoryDigest.Entry(app="argocd/myapp", digest=b"unknown to the hub")
    agent.say(digest=pb.InventoryDigest(entries=[entry]))
    until(lambda: agent.resyncs() == 1)


def test_a_first_message_that_is_no_hello_ends_the_stream_and_stores_nothing(world: HubWorld):
    """Nobody reports under no name."""
    agent = world.agent(cluster="")
    assert agent.ended.wait(10)
    assert not agent.welcomed()
    assert world.rows("SELECT count(*) FROM agents") == [(0,)]


def test_sigterm_ends_quietly_with_streams_open(world: HubWorld):
    """The streams are closed, the exit code is 0, no traceback is left."""
    agent = connect(world)
    assert world.stop() == 0
    assert agent.ended.wait(5)
    said = world.log.read_text()
    assert "hub stopped" in said
    assert "Traceback" not in said


def test_no_secret_is_in_log_database_comment_or_metrics(world: HubWorld):
    """I6: the forge token, the webhook secret and the marker secret appear nowhere."""
    world.hook()
    agent = connect(world)
    agent.report(world.main())
    number = world.bump()
    world.forge.faults.add("status", method="POST", path="/notes", status=500)
    world.deliver(world.about(number), "by-hand", token="guessed")
    until(lambda: len(world.comments(number)) == 1)
    made = 'lockgate_forge_writes_total{kind="comment",outcome="made"} 1.0'
    until(lambda: made in world.scrape())
    metrics = world.scrape()
    world.stop()
    files = [world.log, *world.root.glob("hub.db*")]
    everything = b"".join(file.read_bytes() for file in files)
    everything += metrics.encode() + world.comment(number).encode()
    assert b"group/config" in everything
    for secret in (world.forge.token("lockgate-hub"), WEBHOOK_SECRET, MARKER_SECRET, "guessed"):
        assert secret.encode() not in everything
