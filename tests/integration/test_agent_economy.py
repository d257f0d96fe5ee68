"""No request for what did not change; what a restart, a crash and a failure cost (D46, D51, K1, I2)."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.agent_death import KILLED
from tests.agent_world import World, running
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster

COUNT = 40


@pytest.fixture
def world(control_plane) -> Iterator[World]:
    with running(control_plane) as world:
        yield world


def configmap(name: str, value: str = "1") -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  a: '{value}'\n"


def many(count: int = COUNT, **changed: str) -> dict[str, str]:
    """Return a folder of so many ConfigMaps; `c3="x"` gives one another value."""
    return {
        f"c{index}.yaml": configmap(f"c{index}", changed.get(f"c{index}", "1"))
        for index in range(count)
    }


def names(world: World) -> set[str]:
    text = world.kubectl(
        "get", "configmaps", "-n", world.namespace, "-l", "lockgate.dev/instance", "-o", "name"
    )
    return set(text.replace("configmap/", "").split())


def settled(world: World) -> None:
    world.until_status(sync="Synced", health="Healthy", revision=world.head())


def test_a_refresh_that_finds_nothing_asks_nothing_and_one_change_is_one_write(world: World):
    """D46, D51: 0 requests per object; then one object changes and exactly one write follows."""
    world.commit(many())
    world.start()
    world.apply_application()
    settled(world)
    before = len(world.requests())
    world.push(many())
    settled(world)
    assert world.requests()[before:] == []
    world.push(many(c7="2"))
    settled(world)
    made = [(event.verb, event.name) for event in world.requests()[before:]]
    assert made == [("patch", "c7")]


def test_a_restart_writes_no_object_and_asks_for_none(world: World):
    """Engine 9: the inventory and the watch's first listing tell all; drift while nobody watched is still found."""
    world.commit({**many(), **world.seed_files()})
    world.start()
    world.apply_application()
    settled(world)
    world.stop()
    before = len(world.requests())
    world.mark()
    world.start()
    last = world.until_report(lambda r: r.sync == "Synced" and r.health == "Healthy")
    assert last.healthy_since is not None
    assert last.applied_at is not None
    assert world.requests()[before:] == []
    world.stop()

    world.kubectl("scale", "deployment", "myapp", "-n", world.namespace, "--replicas=4")
    world.mark()
    world.start()
    drift = world.until_report(lambda r: r.drift and r.drift[0].healed_at).drift[0]
    assert (drift.field, drift.manager) == ("spec.replicas", "kubectl")
    assert [(e.verb, e.name) for e in world.requests()[before:]] == [("patch", "myapp")]


def test_a_restart_without_an_inventory_writes_no_object(world: World):
    """Engine 9: decided from the objects alone."""
    world.commit({**many(5), **world.seed_files()})
    world.start()
    world.apply_application()
    settled(world)
    world.stop()
    world.kubectl("delete", "inventories.lockgate.dev", "--all", "-n", "lockgate-system")
    before = len(world.requests())
    world.mark()
    world.start()
    world.until_report(lambda r: r.sync == "Synced" and r.health == "Healthy")
    assert world.requests()[before:] == []


def test_what_is_not_in_git_any_more_is_pruned_under_the_cap(world: World):
    """D42: ten of forty are pruned; what was never ours stays."""
    world.commit(many())
    world.start()
    world.apply_application()
    settled(world)
    world.kubectl("create", "configmap", "foreign", "-n", world.namespace)
    world.push(many(30))
    settled(world)
    world.until(lambda: names(world) == {f"c{i}" for i in range(30)})
    assert world.exists("configmap", "foreign")


def test_more_than_the_cap_is_held_and_said(world: World):
    """D42, K11: nothing of it is deleted until somebody consents."""
    world.commit(many())
    world.start()
    world.apply_application()
    settled(world)
    world.mark()
    last = world.push(many(20))
    status = world.until_status(sync="OutOfSync", revision=last)
    (held,) = [c["message"] for c in status["conditions"] if c["type"] == "PruneHeldWarning"]
    assert held.startswith("20 of 40 objects would be pruned")
    assert world.until_report(lambda r: r.held).held == (held,)
    assert len(names(world)) == COUNT


def test_nothing_at_all_in_git_deletes_nothing(world: World):
    """K11: an emptied folder is more likely a mistake."""
    world.commit(many(3))
    world.start()
    world.apply_application()
    settled(world)
    world.push({"README.md": "moved"})
    world.until_status(sync="OutOfSync", revision=world.head())
    assert len(names(world)) == 3


@pytest.mark.parametrize(
    ("files", "condition"),
    [
        (None, "ComparisonError"),
        ({"c0.yaml": "a: [1"}, "ComparisonError"),
        ({"c0.yaml": configmap("c0"), "c1.yaml": configmap("c0")}, "ComparisonError"),
    ],
    ids=["git is down", "unreadable", "duplicate"],
)
def test_an_error_before_the_first_write_writes_and_deletes_nothing(world: World, files, condition):
    """I2: any fetch or render error, 0 applies and 0 deletes; the condition says why."""
    world.commit(many(3))
    world.start()
    world.apply_application()
    settled(world)
    before = len(world.requests())
    if files is None:
        world.source.down = True
        world.hint()
    else:
        world.push(files)
    status = world.until_status(sync="Unknown")
    assert [c["type"] for c in status["conditions"]] == [condition]
    assert world.requests()[before:] == []
    world.source.down = False
    world.push(many(3, c0="2"))
    settled(world)
    assert "conditions" not in world.application()["status"]


def die(world: World, files: dict[str, str], after: int) -> None:
    """Commit, and run an agent in a process of its own that is killed after so many writes."""
    world.commit(files)
    about = {
        "kubeconfig": str(world.kubeconfig),
        "apps": world.apps,
        "left": after,
        "commits": world.source.commits,
    }
    child = subprocess.run(
        [sys.executable, "-m", "tests.agent_death"],
        input=repr(about),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert child.returncode == KILLED, child.stderr[-2000:]


@pytest.mark.parametrize("after", [0, 1, 5, 9])
def test_a_kill_while_creating_orphans_nothing(world: World, after):
    """K1: what was made before the kill is in the inventory, so a later commit without it prunes it."""
    world.apply_application()
    die(world, many(10), after)
    assert len(names(world)) == after
    world.commit(many(3))
    world.start()
    settled(world)
    world.until(lambda: names(world) == {"c0", "c1", "c2"})


@pytest.mark.parametrize("after", [1, 3])
def test_a_kill_while_pruning_deletes_no_more_than_it_should(world: World, after):
    """K1: the next process finishes; what somebody recreated under a pruned name stays."""
    world.apply_application()
    world.commit(many(8))
    world.start()
    settled(world)
    world.stop()
    die(world, many(4), after)
    assert len(names(world)) == 8 - after
    gone = min({f"c{i}" for i in range(8)} - names(world))
    world.kubectl("create", "configmap", gone, "-n", world.namespace)
    world.start()
    settled(world)
    world.until(lambda: names(world) == {f"c{i}" for i in range(4)})
    assert world.exists("configmap", gone)
