"""The sandbox forge for tests: one per test, with the demo's people and project, on free ports."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.certificates import Authority, make_authority
from sandbox.forge import SandboxForge


@pytest.fixture(scope="session")
def forge_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def forge(tmp_path: Path, forge_authority: Authority) -> Iterator[SandboxForge]:
    """A forge with the default seed (`sandbox.forge.seed.DEFAULT`)."""
    with SandboxForge(tmp_path / "forge", authority=forge_authority) as running:
        yield running


@pytest.fixture
def start_forge(
    tmp_path: Path, forge_authority: Authority
) -> Iterator[Callable[..., SandboxForge]]:
    """Start forges with other seeds: `start_forge(seed)`; all stop with the test."""
    started: list[SandboxForge] = []

    def start(seed: dict[str, Any] | None = None, name: str = "other") -> SandboxForge:
        forge = SandboxForge(tmp_path / name, seed=seed, authority=forge_authority).start()
        started.append(forge)
        return forge

    yield start
    for forge in started:
        forge.stop()
