"""What a git server, a URL or a credential can do wrong, and what the agent says then."""

import threading
import time
from pathlib import Path

import pytest

from agent.core.repositories import parse_repository
from agent.errors import SourceError, SourceRefusedError
from agent.source.credentials import CredentialFile
from agent.source.git import GitSource, GitSourceOptions
from agent.source.mirror import Deadlines, Mirror
from agent.source.process import GitOptions
from tests.fixtures_git import Author, GitServer, Handler, git, git_server, serving

__all__ = ["git_server"]

TOKEN = "glpat-canary-4711"


@pytest.fixture
def author(tmp_path: Path, git_server: GitServer) -> Author:
    made = Author(git_server.create("group/config.git"), tmp_path / "author")
    made.commit({"dev/app.yaml": "a: 1\n"})
    return made


@pytest.fixture
def url(git_server: GitServer) -> str:
    return git_server.base + "/group/config.git"


@pytest.fixture
def make_source(tmp_path: Path, git_server: GitServer):
    made: list[GitSource] = []

    def make(credentials: str = "", *, trusted: bool = True, deadline_s: float = 20) -> GitSource:
        file = tmp_path / "credentials"
        file.write_text(credentials)
        file.chmod(0o600)
        ca_file = git_server.ca_file if trusted else None
        options = GitSourceOptions(
            cache_dir=tmp_path / "cache",
            git=GitOptions(home=tmp_path, ca_file=ca_file),
            credentials=CredentialFile(file),
            deadlines=Deadlines(first_s=deadline_s, later_s=deadline_s),
        )
        made.append(GitSource(options))
        return made[-1]

    yield make
    for source in made:
        source.close()


def line(url: str, user: str = "reader", token: str = TOKEN, prefix: str = "/group") -> str:
    return (
        url.split("/group", maxsplit=1)[0].replace("https://", f"https://{user}:{token}@")
        + prefix
        + "\n"
    )


def test_a_deleted_branch_is_named(make_source, author, url):
    """G6: an error, never an empty tree."""
    author.commit({"x": "1"}, branch="gone")
    source = make_source()
    source.fetch(url, "gone")
    git(author.folder, "push", "-q", "origin", ":refs/heads/gone")
    with pytest.raises(SourceError, match="no branch, tag or commit 'gone'"):
        source.fetch(url, "gone")


def test_a_moved_tag_is_an_error_until_it_is_moved_back(make_source, author, url):
    """G6: both commits are named, the old one stays known."""
    first = git(author.folder, "rev-parse", "HEAD")
    git(author.folder, "push", "-q", "origin", f"{first}:refs/tags/v1")
    source = make_source()
    assert source.fetch(url, "v1") == first
    second = author.commit({"dev/app.yaml": "a: 2\n"})
    git(author.folder, "push", "-q", "--force", "origin", f"{second}:refs/tags/v1")
    for _ in range(2):
        with pytest.raises(SourceRefusedError, match=f"moved from {first[:12]} to {second[:12]}"):
            source.fetch(url, "v1")
    git(author.folder, "push", "-q", "--force", "origin", f"{first}:refs/tags/v1")
    assert source.fetch(url, "v1") == first


def test_an_empty_repository_says_so(make_source, git_server):
    git_server.create("empty.git")
    with pytest.raises(SourceError, match="no commits on its default branch"):
        make_source().fetch(git_server.base + "/empty.git", "HEAD")


def test_a_missing_repository_says_so(make_source, git_server):
    with pytest.raises(SourceError, match="was not found"):
        make_source().fetch(git_server.base + "/nowhere.git", "main")


def test_a_wrong_or_missing_credential_says_what_to_give(make_source, author, url, git_server):
    git_server.passwords = {"reader": TOKEN}
    for credentials in ("", line(url, token="wrong")):
        with pytest.raises(SourceError, match="wants a credential") as caught:
            make_source(credentials).fetch(url, "main")
        assert "--git-credential" in caught.value.hint


def test_a_read_only_credential_is_used_for_its_prefix(make_source, author, url, git_server):
    """It may read, it may not push: fetch after fetch, probed once, with nothing sent by the probe."""
    git_server.passwords = {"reader": TOKEN}
    source = make_source(line(url))
    for step in range(2):
        revision = author.commit({"dev/app.yaml": f"a: {step}\n"})
        assert source.fetch(url, "main") == revision
    tree = source.get_tree(url, revision, "dev")
    assert source.read_blobs(url, [tree.files[0].oid])[tree.files[0].oid] == b"a: 1\n"
    probes = [path for path, _ in git_server.requests if "receive-pack" in path]
    assert set(probes) == {"/group/config.git/info/refs?service=git-receive-pack"}
    assert len(probes) <= 2


def test_a_credential_that_can_push_is_refused(make_source, author, url, git_server):
    """S5: that repository waits; the server's branches are untouched by the probe."""
    git_server.passwords, git_server.writers = {"reader": TOKEN}, {"reader"}
    before = git(git_server.root / "group/config.git", "for-each-ref")
    source = make_source(line(url))
    with pytest.raises(SourceRefusedError, match="this credential can push"):
        source.fetch(url, "main")
    with pytest.raises(SourceRefusedError, match="this credential can push"):
        source.fetch(url, git(author.folder, "rev-parse", "HEAD"))
    assert git(git_server.root / "group/config.git", "for-each-ref") == before
    assert not [
        path
        for path, _ in git_server.requests
        if path.endswith("git-receive-pack") and "?" not in path
    ]


def test_a_probe_without_an_answer_waits_and_then_keeps_the_last_verdict(
    make_source, author, url, git_server
):
    """Unknown is closed; a verdict once had stands while the server is in trouble."""
    git_server.passwords = {"reader": TOKEN}

    def fail(handler: Handler) -> bool:
        if "git-receive-pack" not in handler.path:
            return False
        handler.say(503)
        return True

    git_server.misbehave = fail
    source = make_source(line(url))
    with pytest.raises(SourceError, match="could not find out whether") as caught:
        source.fetch(url, "main")
    assert caught.value.retry
    git_server.misbehave = None
    source.fetch(url, "main")
    git_server.misbehave = fail
    assert source.fetch(url, "main")


def test_credentials_go_nowhere_but_to_their_prefix(make_source, author, url, git_server, tmp_path):
    """G4: another group, a look-alike group and another host see no Authorization."""
    for name in ("groupother/a.git", "else/a.git"):
        other = Author(git_server.create(name), tmp_path / name.replace("/", "-"))
        other.commit({"dev/x.yaml": "x: 1\n"})
    source = make_source(line(url))
    with serving(tmp_path / "elsewhere") as elsewhere:
        for address in (
            git_server.base + "/groupother/a.git",
            git_server.base + "/else/a.git",
            elsewhere.base + "/group/config.git",
        ):
            try:
                source.fetch(address, "main")
            except SourceError:
                continue
        seen = [auth for _, auth in git_server.requests + elsewhere.requests]
    assert len(git_server.requests) >= 4
    assert not any(seen)


def test_a_redirect_is_not_followed_and_carries_nothing(
    make_source, author, url, git_server, tmp_path
):
    """G3: the other host gets no request at all."""
    git_server.passwords = {"reader": TOKEN}
    with serving(tmp_path / "elsewhere") as elsewhere:

        def redirect(handler: Handler) -> bool:
            handler.say(302, Location=elsewhere.base + handler.path)
            return True

        git_server.misbehave = redirect
        with pytest.raises(SourceError, match="redirects to another address"):
            make_source(line(url)).fetch(url, "main")
        assert not elsewhere.requests


def html(handler: Handler) -> bool:
    handler.say(200, b"<html>Sign in</html>", Content_Type="text/html")
    return True


def cut(handler: Handler) -> bool:
    if not handler.path.endswith("/git-upload-pack"):
        return False
    handler.send_response(200)
    handler.send_header("Content-Type", "application/x-git-upload-pack-result")
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b"000dpackfile\n0028")
    handler.close_connection = True
    return True


def scolding(handler: Handler) -> bool:
    handler.say(500, b"failed for https://root:hunter2@internal/x", Content_Type="text/plain")
    return True


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (html, "a page instead of a git repository"),
        (cut, "broke in the middle"),
        (scolding, "the server failed"),
    ],
    ids=["html", "cut", "scolding"],
)
def test_a_bad_answer_is_named_and_the_next_good_one_serves(
    make_source, author, url, git_server, fault, message
):
    """G7: no partial result, and nothing left that hinders the next fetch."""
    source = make_source()
    git_server.misbehave = fault
    for _ in range(2):
        with pytest.raises(SourceError, match=message) as caught:
            source.fetch(url, "main")
        assert "hunter2" not in str(caught.value) + caught.value.hint
    git_server.misbehave = None
    assert source.fetch(url, "main") == git(author.folder, "rev-parse", "HEAD")


def test_one_byte_a_second_ends_at_the_deadline(make_source, author, url, git_server):
    """G7: the deadline is for the whole fetch, not for each byte."""
    release = threading.Event()

    def drip(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while not release.wait(0.2):
            handler.wfile.write(b"0")
        return True

    git_server.misbehave = drip
    started = time.monotonic()
    with pytest.raises(SourceError, match="no complete answer within 1 s"):
        make_source(deadline_s=1).fetch(url, "main")
    assert time.monotonic() - started < 5
    release.set()


def test_closing_ends_a_fetch_under_way(make_source, author, url, git_server):
    """An agent that is told to stop leaves no git process behind."""
    asked, release = threading.Event(), threading.Event()

    def hang(_: Handler) -> bool:
        asked.set()
        return release.wait(20)

    git_server.misbehave = hang
    source = make_source()
    failed: list[SourceError] = []

    def fetch() -> None:
        try:
            source.fetch(url, "main")
        except SourceError as err:
            failed.append(err)

    thread = threading.Thread(target=fetch)
    thread.start()
    assert asked.wait(20)
    source.close()
    thread.join(5)
    release.set()
    assert failed


def test_an_untrusted_certificate_is_named(make_source, author, url):
    with pytest.raises(SourceError, match="certificate is not trusted") as caught:
        make_source(trusted=False).fetch(url, "main")
    assert "--ca-file" in caught.value.hint


def test_a_host_that_does_not_exist_is_named(make_source):
    with pytest.raises(SourceError, match=r"does not resolve|cannot be reached"):
        make_source().fetch("https://nowhere.invalid/a/b.git", "main")


def test_fifty_failing_rounds_leave_no_thread_process_or_descriptor(
    make_source, author, url, git_server
):
    """G7: what a round opens, it closes."""
    source = make_source()
    source.fetch(url, "main")

    def count() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    faults = [html, cut, scolding]
    clients = threading.active_count()
    before = count()[0]
    for number in range(50):
        git_server.misbehave = faults[number % 3]
        with pytest.raises(SourceError):
            source.fetch(url, "main")
    deadline = time.monotonic() + 10
    while count()[0] > before + 4 and time.monotonic() < deadline:
        threading.Event().wait(0.05)  # the test's own server closes its connections meanwhile
    assert count()[0] <= before + 4
    assert count()[1] <= clients + 4
    assert not list((git_server.root.parent.parent / "cache").glob("new-*"))


@pytest.mark.parametrize("branch", ["--upload-pack=touch x", "-x", "a..b", "v1.*", ">=1.0", "a\nb"])
def test_revisions_that_are_options_or_ranges_are_refused(
    make_source, author, url, branch, git_server
):
    """G1: refused before any process starts."""
    with pytest.raises(SourceRefusedError, match=r"spec\.source\.targetRevision"):
        make_source().fetch(url, branch)
    assert not git_server.requests


def test_what_is_reported_is_what_was_fetched_though_the_branch_moves_meanwhile(
    make_source, author, url, git_server
):
    """G10: a push between the server's list of refs and the pack changes neither commit nor tree."""
    source = make_source()
    source.fetch(url, "main")
    listed = author.commit({"dev/app.yaml": "a: listed\n"})
    posts = []

    def push_in_between(handler: Handler) -> bool:
        if handler.path.endswith("/git-upload-pack"):
            posts.append(handler.path)
            if len(posts) == 2:
                author.commit({"dev/app.yaml": "a: later\n"})
        return False

    git_server.misbehave = push_in_between
    revision = source.fetch(url, "main")
    assert len(posts) >= 2
    assert revision == listed
    tree = source.get_tree(url, revision, "dev")
    assert source.read_blobs(url, [tree.files[0].oid])[tree.files[0].oid] == b"a: listed\n"


def test_one_fetch_serves_all_who_were_woken_together(make_source, author, url, git_server):
    """`since`: a fetch begun after that instant is good enough, one begun before is not."""
    source = make_source()
    woken = time.monotonic()
    revision = source.fetch(url, "main", since=woken)
    asked = len(git_server.requests)
    assert [source.fetch(url, "main", since=woken) for _ in range(100)] == [revision] * 100
    assert len(git_server.requests) == asked
    newer = author.commit({"dev/app.yaml": "a: 2\n"})
    assert source.fetch(url, "main", since=time.monotonic()) == newer


def test_tidying_a_partial_mirror_keeps_it_whole(make_source, author, url, git_server, tmp_path):
    """`git gc` in a mirror without all blobs neither fails nor fetches them."""
    git_options = GitOptions(home=tmp_path, ca_file=git_server.ca_file)
    repository = parse_repository(url)
    mirror = Mirror(tmp_path / "tidy", repository, git_options, Deadlines(), tidy_every=2)
    for step in range(4):
        newest = author.commit({"dev/app.yaml": f"a: {step}\n"})
        assert mirror.fetch("refs/heads/main", None) == newest
    assert not mirror.suspect
    assert len(list(mirror.path.glob("objects/pack/*.pack"))) <= 2
    assert mirror.run(["gc", "--quiet"], promisor=True).code == 0
    assert mirror.run(["log", "--oneline", newest]).code == 0
    mirror.reader.close()


def test_a_credential_file_open_to_others_is_warned_of(tmp_path):
    file = tmp_path / "credential"
    file.write_text("https://u:token@h.example/g\n")
    for mode, warned in ((0o600, False), (0o640, False), (0o644, True), (0o660, True)):
        file.chmod(mode)
        assert bool(CredentialFile(file).open_to_others()) is warned
