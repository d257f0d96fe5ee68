"""The four parts as processes, as users start them: control plane, forge, hub, agent."""

from collections.abc import Iterator

import pytest

from sandbox.controlplane.binaries import BinariesUnavailable, ensure_binaries
from sandbox.stack import Stack, StackOptions


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole stack of its own for one test module, with an audit log."""
    try:
        ensure_binaries()
    except BinariesUnavailable as missing:
        pytest.skip(f"no Kubernetes binaries: {missing}")
    root = tmp_path_factory.mktemp("stack")
    with Stack(root, StackOptions(audit=True)) as running:
        yield running
