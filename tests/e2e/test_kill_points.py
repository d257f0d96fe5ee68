"""kill -9 of bot, hub and agent at three named points each, in the middle of a rollout (acceptance 5).

A part dies by its own hand exactly at the point, is looked at while it is dead, and is started again as a supervisor
would. Afterwards there is one merge request, one comment, the right last word, and exactly git's objects.
"""

import pytest

from tests.eventually import eventually
from tests.fixtures_chaos import APPLICATION, IMAGE, ChaosWorld

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize(
    ("point", "pushed", "opened"),
    [
        ("bot-before-push", False, False),
        ("bot-after-push", True, False),
        ("bot-after-merge-request", True, True),
    ],
)
def test_a_killed_bot_run_again_is_one_merge_request_and_one_rollout(
    chaos_world: ChaosWorld, point: str, pushed: bool, opened: bool
):
    """C3: the job is started again by CI, and nothing shows that it once died."""
    world, tag = chaos_world, chaos_world.next_tag()
    before = _branch_head(world)
    world.points.arm(point)
    died = world.bump(tag)
    assert died.returncode == -9, died.stderr
    assert world.points.hit(point)
    assert (_branch_head(world) != before) == pushed
    assert bool(world.open_ones()) == opened

    number = world.bumped(tag)
    _converges_after_merge(world, number, tag)


@pytest.mark.parametrize("point", ["hub-delivery-stored", "hub-before-write", "hub-after-write"])
def test_a_killed_hub_tells_the_rollout_once(chaos_world: ChaosWorld, point: str):
    """Answered deliveries are worked on after all; a write made and not settled is not made twice."""
    world, tag = chaos_world, chaos_world.next_tag()
    number = world.bumped(tag)
    eventually(lambda: world.senior.require_comment(number, "Waiting"))
    # Of all writes the one whose loss or doubling would show: the comment's last word.
    world.points.arm(point, "" if point == "hub-delivery-stored" else "🟢 Live")
    sha = world.merge(number)
    world.await_death("hub", point)
    comments = world.our_comments(number)
    assert len(comments) == 1
    assert ("🟢 Live" in comments[0]) == (point == "hub-after-write")
    if point == "hub-delivery-stored":
        assert world.rows("select id from deliveries where done_at is null")
    else:
        assert (f"comment:{number}",) in world.rows("select key from outbox")

    world.restart("hub")
    world.require_converged(number, sha, tag)


@pytest.mark.parametrize(
    "point", ["agent-planned", "agent-between-applies", "agent-before-inventory"]
)
def test_a_killed_agent_orphans_nothing_and_deletes_nothing_wrongly(
    chaos_world: ChaosWorld, point: str
):
    """D14: the inventory covers what was created whenever the agent died; what git dropped goes."""
    world, tag = chaos_world, chaos_world.next_tag()
    old, number = world.tag, world.propose(tag)
    eventually(lambda: world.senior.require_comment(number, "Waiting"))
    world.points.arm(point)
    sha = world.merge(number)
    world.await_death("agent", point)
    created, pruned = f"extra-{world.extra}", f"extra-{world.extra - 1}"
    there = world.config_maps(), world.image()
    match point:
        case "agent-planned":
            assert there == ({pruned}, f"{IMAGE}:{old}")
        case "agent-between-applies":
            assert pruned in there[0]
            assert (created in there[0]) != (there[1] == f"{IMAGE}:{tag}")
            assert created in world.inventory(), "created without having been written down"
        case _:
            assert there == ({created}, f"{IMAGE}:{tag}")
            assert pruned in world.inventory(), "the inventory was written already"

    world.restart("agent")
    world.require_converged(number, sha, tag)
    # Nothing is orphaned: what the dead process made, its successor takes away when git does.
    tag = world.next_tag()
    number = world.propose(tag)
    world.require_converged(number, world.merge(number), tag)
    assert f'/{created}"' not in world.inventory()


def test_points_that_are_not_armed_kill_nobody(chaos_world: ChaosWorld):
    """The control: the same programs, the same change, nobody dies."""
    world, tag = chaos_world, chaos_world.next_tag()
    pids = {name: child.pid for name, child in world.stack.children.items()}
    number = world.propose(tag)
    world.require_converged(number, world.merge(number), tag)
    assert {name: child.pid for name, child in world.stack.children.items()} == pids
    assert world.cluster.application()["metadata"]["name"] == APPLICATION


def test_a_change_that_touches_no_object_is_live_too(chaos_world: ChaosWorld):
    """A merge of a mere comment leaves nothing to apply; the merge request must not wait for it forever."""
    world = chaos_world
    path = "dev/service.yaml"
    text = world.senior.project.files.get(path, ref="main").decode().decode()
    action = {"action": "update", "file_path": path, "content": f"# {world.tag}\n{text}"}
    number = world.change(f"comment-{world.tag}", [action])
    world.require_converged(number, world.merge(number), world.tag)


def _branch_head(world: ChaosWorld) -> str:
    found = [
        b
        for b in world.senior.project.branches.list(get_all=True)
        if b.name.startswith("lockgate/")
    ]
    assert len(found) <= 1
    return str(found[0].commit["id"]) if found else ""


def _converges_after_merge(world: ChaosWorld, number: int, tag: str) -> None:
    world.require_converged(number, world.merge(number), tag)
