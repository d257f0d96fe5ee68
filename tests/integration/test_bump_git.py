"""git as the bot runs it, against a real server over https: names, leases, deadlines and the password's way."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci_bot.errors import (
    ForgeAuthError,
    GitError,
    GitTimeoutError,
    PushRacedError,
    UsageError,
)
from ci_bot.repo.askpass import _listening, ask
from ci_bot.repo.git import Credential, Git
from ci_bot.repo.workspace import NewCommit, Workspace
from tests.fixtures_git import Author, GitServer, git_server

__all__ = ["git_server"]  # the fixture

PASSWORD = "glpat-very-secret"
NAMES = ["dev/plain.yaml", 'dev/quo"te.yaml', "dev/--help.yaml", "dev/a;b.yaml", "dev/ümlaut.yaml"]


@pytest.fixture
def bare(git_server: GitServer, tmp_path: Path) -> Path:
    git_server.passwords["oauth2"] = PASSWORD
    git_server.writers.add("oauth2")
    bare = git_server.create("group/config.git")
    Author(bare, tmp_path / "author").commit({name: f"# {name}\n" for name in NAMES})
    return bare


def git_options(server: GitServer, *, password: str = PASSWORD, timeout_s: float = 20) -> Git:
    return Git(
        folder=Path(),
        credential=Credential(username="oauth2", password=password),
        ca_file=str(server.ca_file),
        timeout_s=timeout_s,
    )


@pytest.fixture
def workspace(git_server: GitServer, bare: Path) -> Iterator[Workspace]:
    with Workspace.open(f"{git_server.base}/group/config.git", git_options(git_server)) as opened:
        yield opened


def commit(workspace: Workspace, parent: str, files: dict[str, bytes]) -> str:
    return workspace.write_commit(
        NewCommit(
            parent=parent, name="bot", email="bot@x.test", at=1, message="bump\n",
            files={path: ("100644", data) for path, data in files.items()},
        )
    )  # fmt: skip


def test_odd_names_are_data_and_only_the_given_files_change(workspace: Workspace):
    """R8: no file name is an option or a command of git's."""
    tip = workspace.fetch()
    assert sorted(entry.path for entry in workspace.list_files(tip, "dev")) == sorted(NAMES)
    made = commit(workspace, tip, dict.fromkeys(NAMES[1:], b"new\n"))
    assert sorted(path for path, _ in workspace.list_changed_blobs(made)) == sorted(NAMES[1:])


def test_the_lease_holds_against_whoever_came_first(workspace: Workspace, git_server: GitServer):
    """G11."""
    tip = workspace.fetch()
    workspace.fetch_blobs([workspace.list_files(tip, "dev/plain.yaml")[0].oid])
    ours, theirs = (commit(workspace, tip, {"dev/plain.yaml": text}) for text in (b"a", b"b"))
    workspace.push(theirs, "lockgate/dev/app", expected="")
    for expected in ("", tip):
        with pytest.raises(PushRacedError):
            workspace.push(ours, "lockgate/dev/app", expected=expected)
    workspace.fetch(rolling="lockgate/dev/app")
    assert workspace.list_rolling("lockgate/dev/app") == {"lockgate/dev/app": theirs}
    workspace.push(ours, "lockgate/dev/app", expected=theirs)


def test_only_the_wanted_blobs_are_fetched(workspace: Workspace):
    """A large repository costs its trees and the files below one path."""
    tip = workspace.fetch()
    entry = workspace.list_files(tip, "dev/plain.yaml")[0]
    workspace.fetch_blobs([entry.oid])
    assert list(workspace.read_blobs([entry.oid], most=1000)) == [
        (entry.oid, b"# dev/plain.yaml\n")
    ]
    packed = workspace._git.local("cat-file", "--batch-all-objects", "--batch-check").decode()
    assert packed.count(" blob ") == 1


def test_a_blob_over_the_cap_is_told_by_its_size(workspace: Workspace):
    """Y16: it is never in memory as a whole."""
    tip = workspace.fetch()
    made = commit(workspace, tip, {"dev/plain.yaml": b"x" * 3_000_000, "dev/z.yaml": b"small"})
    oids = [oid for _, oid in workspace.list_changed_blobs(made)]
    sizes = [data for _, data in workspace.read_blobs(oids, most=1_000_000)]
    assert sizes == [3_000_000, b"small"]


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_refused_token_is_one_clear_error_that_does_not_show_it(
    git_server: GitServer, bare: Path, password: str
):
    with (
        Workspace.open(
            f"{git_server.base}/group/config.git", git_options(git_server, password=password)
        ) as workspace,
        pytest.raises(ForgeAuthError) as refused,
    ):
        workspace.fetch()
    assert "LOCKGATE_TOKEN" in refused.value.hint
    assert "wrong" not in refused.value.message


def test_a_missing_branch_is_named(workspace: Workspace):
    with pytest.raises(GitError, match="no branch 'staging'"):
        workspace.fetch(target="staging")


def test_g1_a_branch_that_is_an_option_never_reaches_git(workspace: Workspace):
    with pytest.raises(UsageError):
        workspace.fetch(target="--upload-pack=touch")


def test_g1_other_transports_are_shut(tmp_path: Path):
    """`GIT_ALLOW_PROTOCOL` is the second wall behind the check of the address."""
    for url in ("ext::sh -c id", f"file://{tmp_path}"):
        with (
            Workspace.open(url, Git(folder=Path())) as workspace,
            pytest.raises(GitError, match="not allowed"),
        ):
            workspace.fetch()


def test_g7_a_server_that_hangs_is_given_up_at_the_deadline(git_server: GitServer, bare: Path):
    def hang(handler: object) -> bool:
        time.sleep(8)  # the server's misbehaviour, not a wait of the test's
        return True

    git_server.misbehave = hang
    options = git_options(git_server, timeout_s=1)
    begun = time.monotonic()
    with (
        Workspace.open(f"{git_server.base}/group/config.git", options) as workspace,
        pytest.raises(GitTimeoutError),
    ):
        workspace.fetch()
    assert time.monotonic() - begun < 5


def test_g7_a_login_page_instead_of_git_is_an_error(git_server: GitServer, bare: Path):
    def page(handler: object) -> bool:
        handler.say(200, b"<html>sign in</html>", Content_Type="text/html")  # type: ignore[attr-defined]
        return True

    git_server.misbehave = page
    with (
        Workspace.open(f"{git_server.base}/group/config.git", git_options(git_server)) as workspace,
        pytest.raises(GitError),
    ):
        workspace.fetch()


def test_nothing_is_left_when_it_ends(git_server: GitServer, bare: Path):
    with Workspace.open(
        f"{git_server.base}/group/config.git", git_options(git_server)
    ) as workspace:
        folder = workspace._git.folder
        workspace.fetch()
        assert PASSWORD not in (folder / "config").read_text()
        assert PASSWORD not in (folder / "askpass").read_text()
    assert not folder.exists()


def test_where_no_pipe_can_be_inherited_a_listener_answers_once(tmp_path: Path):
    """D23 on Windows; the same code answers on any platform."""
    with _listening(PASSWORD, tmp_path) as environment:
        assert PASSWORD not in "".join(environment.values())
        assert ask(environment) == PASSWORD
