"""The agent alone, on a real control plane, with the rights it ships: the seed's S5 to S10."""

from collections.abc import Iterator

import pytest

from tests.agent_world import World, running

pytestmark = pytest.mark.cluster


@pytest.fixture
def world(control_plane) -> Iterator[World]:
    with running(control_plane) as world:
        yield world


def test_an_application_appears_and_becomes_healthy(world: World):
    """S5: the namespace is created, two pods run, Synced and Healthy."""
    world.commit(world.seed_files())
    world.start()
    world.apply_application()
    world.until_status(sync="Synced", health="Healthy")
    deployment = world.get("deployment", "myapp")
    assert deployment["status"]["readyReplicas"] == 2
    assert deployment["metadata"]["labels"]["lockgate.dev/instance"].startswith(world.app)
    status = world.application()["status"]
    assert status["operationState"]["phase"] == "Succeeded"
    assert {item["kind"] for item in status["resources"]} == {"Deployment", "Service"}
    assert status["summary"]["images"] == ["nanajanashia/argocd-app:1.0"]
    report = world.reports[-1]
    assert (report.replicas_ready, report.replicas_desired) == (2, 2)
    assert report.healthy_since is not None
    assert report.change_revision == world.head()
