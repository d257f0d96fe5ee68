"""The real control plane, one per test session, and a fresh namespace per test."""

import uuid
from collections.abc import Iterator

import pytest

from sandbox.controlplane.binaries import BinariesUnavailable, ensure_binaries
from sandbox.controlplane.plane import ControlPlane


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd, API server, controller-manager, scheduler and a simulated node, with an audit log; shared by all tests."""
    try:
        binaries = ensure_binaries()
    except BinariesUnavailable as missing:
        pytest.skip(f"no Kubernetes binaries: {missing}")
    with ControlPlane(
        tmp_path_factory.mktemp("control-plane"), audit=True, binaries=binaries
    ) as plane:
        yield plane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace nobody else uses; its deletion is asked for at the end and not waited for."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")
