"""The agent's git source against real git over https."""

import random
import threading
from pathlib import Path

import pytest

from agent.errors import SourceError, SourceRefusedError
from agent.source.credentials import CredentialFile
from agent.source.git import GitSource, GitSourceOptions
from agent.source.mirror import Deadlines
from agent.source.process import GitOptions
from tests.fixtures_git import Author, GitServer, git, git_server

__all__ = ["git_server"]

FILES = {"dev/app.yaml": "a: 1\n", "dev/deep/er/x.yaml": "b: 2\n", "prod/app.yaml": "c: 3\n"}


@pytest.fixture
def source(tmp_path: Path, git_server: GitServer):
    made = make_source(tmp_path, git_server)
    yield made
    made.close()


def make_source(tmp_path: Path, server: GitServer, credential: Path | None = None) -> GitSource:
    return GitSource(
        GitSourceOptions(
            cache_dir=tmp_path / "cache",
            git=GitOptions(home=tmp_path, ca_file=server.ca_file),
            credentials=CredentialFile(credential),
            deadlines=Deadlines(first_s=20, later_s=20),
        )
    )


@pytest.fixture
def author(tmp_path: Path, git_server: GitServer) -> Author:
    made = Author(git_server.create("config.git"), tmp_path / "author")
    made.commit(FILES)
    return made


@pytest.fixture
def url(git_server: GitServer) -> str:
    return git_server.base + "/config.git"


def contents(source: GitSource, url: str, revision: str, path: str) -> dict[str, str]:
    tree = source.get_tree(url, revision, path)
    blobs = source.read_blobs(url, [file.oid for file in tree.files])
    for file in tree.files:
        assert file.size == len(blobs[file.oid])
    return {file.path: blobs[file.oid].decode() for file in tree.files}


def test_a_branch_is_fetched_and_its_folder_read(source, author, url):
    """Names are relative to the path, contents are the commit's."""
    revision = source.fetch(url, "main")
    assert revision == git(author.folder, "rev-parse", "HEAD")
    assert contents(source, url, revision, "dev") == {
        "app.yaml": "a: 1\n",
        "deep/er/x.yaml": "b: 2\n",
    }
    assert source.get_tree(url, revision, ".").oid == git(author.folder, "rev-parse", "HEAD^{tree}")
    assert source.get_tree(url, revision, "dev").oid == git(author.folder, "rev-parse", "HEAD:dev")


def test_a_later_fetch_brings_the_blobs_of_the_change(source, author, url, git_server):
    """After the fetch of a merge nothing more is asked of the server."""
    contents(source, url, source.fetch(url, "main"), "dev")
    author.commit({"dev/app.yaml": "a: 2\n"})
    revision = source.fetch(url, "main")
    asked = len(git_server.requests)
    assert contents(source, url, revision, "dev")["app.yaml"] == "a: 2\n"
    assert len(git_server.requests) == asked


def test_a_change_sent_as_a_difference_to_an_unknown_blob_is_fetched_all_the_same(
    source, author, url
):
    """A partial clone lacks blobs that a thin pack may build on."""
    big = "".join(f"line {i}: {random.Random(i).random()}\n" for i in range(4000))
    author.commit({"prod/big.yaml": big, "dev/app.yaml": "a: 1\n"})
    contents(source, url, source.fetch(url, "main"), "dev")
    for step in range(3):
        author.commit({"prod/big.yaml": big.replace("line 7:", f"line seven {step}:")})
        revision = source.fetch(url, "main")
    assert "line seven 2:" in contents(source, url, revision, "prod")["big.yaml"]


def test_head_follows_the_default_branch(source, author, url, git_server):
    author.commit({"dev/app.yaml": "trunk\n"}, branch="trunk")
    git(git_server.root / "config.git", "symbolic-ref", "HEAD", "refs/heads/trunk")
    revision = source.fetch(url, "HEAD")
    assert contents(source, url, revision, "dev")["app.yaml"] == "trunk\n"
    assert source.fetch(url, "") == revision


def test_tags_and_commit_ids_name_commits(source, author, url):
    """An annotated tag is peeled; a commit id that is here already costs no request."""
    first = git(author.folder, "rev-parse", "HEAD")
    git(author.folder, "tag", "-a", "-m", "one", "v1.0")
    git(author.folder, "push", "-q", "origin", "v1.0")
    second = author.commit({"dev/app.yaml": "a: 2\n"})
    assert source.fetch(url, "v1.0") == first
    assert source.fetch(url, second) == second
    assert source.fetch(url, first) == first


def test_a_branch_wins_over_a_tag_of_the_same_name(source, author, url):
    first = git(author.folder, "rev-parse", "HEAD")
    git(author.folder, "push", "-q", "origin", f"{first}:refs/tags/both")
    second = author.commit({"dev/app.yaml": "a: 2\n"}, branch="both")
    assert source.fetch(url, "both") == second


def test_sha256_repositories_work(tmp_path, source, git_server):
    author = Author(git_server.create("s256.git", object_format="sha256"), tmp_path / "a256")
    revision = author.commit(FILES)
    url = git_server.base + "/s256.git"
    assert len(revision) == 64
    assert source.fetch(url, "main") == revision
    assert contents(source, url, revision, "prod") == {"app.yaml": "c: 3\n"}


def test_branches_that_nest_after_a_rename_do_not_collide(source, author, url):
    """`release` becomes `release/1`: the local copy keeps no directory in the way."""
    author.commit({"dev/app.yaml": "x\n"}, branch="release")
    source.fetch(url, "release")
    git(author.folder, "push", "-q", "origin", ":refs/heads/release")
    revision = author.commit({"dev/app.yaml": "y\n"}, branch="release/1")
    assert source.fetch(url, "release/1") == revision


def test_the_newest_change_of_a_path_is_found_along_first_parents(source, author, url):
    """A merge is the change, not the commit that it merged; other paths' commits do not count."""
    git(author.folder, "checkout", "-q", "-b", "feature")
    author.commit({"dev/app.yaml": "a: 9\n"}, branch="feature")
    git(author.folder, "checkout", "-q", "main")
    author.commit({"prod/app.yaml": "c: 4\n"})
    git(author.folder, "merge", "-q", "--no-ff", "-m", "merge", "feature")
    merge = git(author.folder, "rev-parse", "HEAD")
    tip = author.commit({"prod/app.yaml": "c: 5\n"})
    revision = source.fetch(url, "main")
    assert revision == tip
    assert source.find_change(url, revision, "dev") == merge
    assert source.find_change(url, revision, "prod") == tip
    assert source.find_change(url, merge, "dev") == merge
    assert source.find_change(url, revision, ".") == tip


def test_ancestry_is_told_across_a_rewrite(source, author, url):
    first = git(author.folder, "rev-parse", "HEAD")
    second = author.commit({"dev/app.yaml": "a: 2\n"})
    third = author.commit({"dev/app.yaml": "a: 3\n"})
    source.fetch(url, "main")
    git(author.folder, "reset", "-q", "--hard", first)
    rewritten = author.commit({"dev/app.yaml": "a: 4\n"})
    assert source.fetch(url, "main") == rewritten
    assert source.is_ancestor(url, first, third)
    assert source.is_ancestor(url, second, third)
    assert source.is_ancestor(url, first, rewritten)
    assert not source.is_ancestor(url, third, rewritten)
    assert not source.is_ancestor(url, "0" * 40, rewritten)


def test_a_damaged_mirror_is_made_anew(source, author, url, tmp_path):
    """Truncated packs and left-over lock files cost one more fetch, never a wrong answer."""
    source.fetch(url, "main")
    (mirror,) = (tmp_path / "cache").glob("*.git")
    for pack in mirror.glob("objects/pack/*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:40])
    author.commit({"dev/app.yaml": "a: 5\n"})
    for _ in range(2):
        try:
            revision = source.fetch(url, "main")
            break
        except SourceError:
            continue
    assert contents(source, url, revision, "dev")["app.yaml"] == "a: 5\n"
    for ref in (mirror / "refs" / "lockgate").iterdir():
        ref.with_name(ref.name + ".lock").touch()
    revision = author.commit({"dev/app.yaml": "a: 6\n"})
    assert source.fetch(url, "main") == revision


def test_callers_that_wait_share_one_fetch(source, author, url, git_server):
    """Thirty callers at once cost at most a few fetches, and all see the newest commit."""
    source.fetch(url, "main")
    revision = author.commit({"dev/app.yaml": "a: 7\n"})
    before = len(git_server.requests)
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: seen.append(source.fetch(url, "main"))) for _ in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == [revision] * 30
    assert len(git_server.requests) - before <= 3 * 4


def test_every_tree_read_amid_fetches_is_that_of_its_revision(source, author, url):
    """R11: two folders, moving branch, several threads; the tree always equals `git rev-parse REV:path`."""
    failures: list[str] = []
    stop = threading.Event()

    def read(path: str) -> None:
        while not stop.is_set():
            revision = source.fetch(url, "main")
            expected = git(author.folder, "rev-parse", f"{revision}:{path}")
            if source.get_tree(url, revision, path).oid != expected:
                failures.append(revision)

    threads = [threading.Thread(target=read, args=(p,)) for p in ("dev", "prod", "dev")]
    for thread in threads:
        thread.start()
    for step in range(12):
        author.commit({"dev/app.yaml": f"a: {step}\n", f"prod/n{step}.yaml": "x\n"})
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not failures


@pytest.mark.parametrize("path", ["../etc", "/etc", "dev/../../x", "a\\b", "dev/\0"])
def test_paths_that_leave_the_repository_are_refused(source, author, url, path):
    with pytest.raises(SourceRefusedError, match=r"spec\.source\.path"):
        source.get_tree(url, source.fetch(url, "main"), path)


def test_a_path_through_a_symbolic_link_is_refused_without_its_content(source, author, url):
    """R1, R2: the link is named, its target is not followed."""
    (author.folder / "link").symlink_to("/etc")
    (author.folder / "dev" / "shadow.yaml").symlink_to("/etc/shadow")
    author.commit({})
    revision = source.fetch(url, "main")
    with pytest.raises(SourceRefusedError, match="symbolic link"):
        source.get_tree(url, revision, "link/ssl")
    modes = {f.path: f.mode for f in source.get_tree(url, revision, "dev").files}
    assert modes["shadow.yaml"] == 0o120000


def test_missing_folders_and_files_are_named(source, author, url):
    revision = source.fetch(url, "main")
    with pytest.raises(SourceError, match="'stage' does not exist"):
        source.get_tree(url, revision, "stage")
    with pytest.raises(SourceError, match=r"'dev/app.yaml' is a file"):
        source.get_tree(url, revision, "dev/app.yaml")


def test_odd_file_names_are_data(source, author, url):
    """R8: options, shell, line breaks, case clashes and bytes that are not UTF-8."""
    names = ["--help.yaml", "a;b.yaml", "line\nbreak.yaml", "CASE.yaml", "case.yaml", "x" * 250]
    author.commit({f"odd/{name}": name for name in names})
    bad = author.folder / "odd"
    Path(str(bad) + "/\udcff.yaml").write_text("bytes")
    author.commit({})
    revision = source.fetch(url, "main")
    found = contents(source, url, revision, "odd")
    assert found == {**{name: name for name in names}, "\udcff.yaml": "bytes"}
