"""The agent's git source against the sandbox's forge: its tokens, its 401s, its smart HTTP."""

from pathlib import Path

import pytest

from agent.errors import SourceError, SourceRefusedError
from agent.source.credentials import CredentialFile
from agent.source.git import GitSource, GitSourceOptions
from agent.source.process import GitOptions
from sandbox.forge import SandboxForge
from tests.fixtures_forge import forge

__all__ = ["forge"]


@pytest.fixture
def make_source(forge: SandboxForge, tmp_path: Path):
    made: list[GitSource] = []

    def make(user: str) -> GitSource:
        file = tmp_path / f"credential-{user}"
        address = forge.url.replace("https://", f"https://{user}:{forge.token(user)}@")
        file.write_text(f"{address}/group\n")
        file.chmod(0o600)
        git = GitOptions(home=tmp_path, ca_file=Path(forge.ca_file))
        made.append(
            GitSource(
                GitSourceOptions(
                    cache_dir=tmp_path / f"cache-{user}", git=git, credentials=CredentialFile(file)
                )
            )
        )
        return made[-1]

    yield make
    for source in made:
        source.close()


def test_the_agents_token_reads_and_its_folder_is_there(forge, make_source):
    source = make_source("lockgate-agent")
    revision = source.fetch(forge.clone_url, "HEAD")
    files = source.get_tree(forge.clone_url, revision, "dev").files
    assert [file.path for file in files] == ["deployment.yaml", "service.yaml"]


@pytest.mark.parametrize("user", ["lockgate-bot", "senior"])
def test_a_token_that_can_push_is_refused(forge, make_source, user):
    """S5, also where the default branch is protected: pushing anywhere is too much."""
    with pytest.raises(SourceRefusedError, match="this credential can push"):
        make_source(user).fetch(forge.clone_url, "HEAD")


def test_a_revoked_token_is_named(forge, make_source):
    source = make_source("lockgate-agent")
    source.fetch(forge.clone_url, "HEAD")
    forge.revoke("lockgate-agent")
    with pytest.raises(SourceError, match="wants a credential"):
        source.fetch(forge.clone_url, "HEAD")
