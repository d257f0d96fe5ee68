"""GitLab's awkward rules, as the stand-in keeps them (D9, D26): rights, refusals, what a push does not reset."""

import subprocess

import gitlab
import pytest

from sandbox.forge.seed import DEPLOYMENT
from tests.fixtures_git import GIT_ENVIRONMENT


@pytest.fixture
def clients(forge):
    """`clients(name)` is that user's project, through python-gitlab."""

    def project(username):
        client = gitlab.Gitlab(
            forge.url, private_token=forge.token(username), ssl_verify=forge.ca_file
        )
        return client.projects.get(forge.project_path)

    return project


def open_bump(forge, branch="lockgate/dev/app", **more):
    bot = forge.as_user("lockgate-bot")
    bot.push(branch, {"dev/deployment.yaml": DEPLOYMENT.replace("1.0", "1.2")}, "Bump")
    return bot.open(branch, "Bump", **more)


def git(forge, username, *arguments, folder=None):
    """Run git over https as a user, with the token in the address."""
    address = forge.clone_url.replace("https://", f"https://x:{forge.token(username)}@")
    argv = ["git", *(address if a == "URL" else a for a in arguments)]
    environment = GIT_ENVIRONMENT | {"GIT_SSL_CAINFO": forge.ca_file, "GIT_TERMINAL_PROMPT": "0"}
    return subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_nobody_pushes_the_default_branch_and_the_bot_pushes_its_own(forge, tmp_path):
    """Protected for maintainers too; the message is GitLab's; a branch of the bot moves the merge request."""
    iid = open_bump(forge)
    assert git(forge, "lockgate-bot", "clone", "-q", "URL", str(tmp_path / "c")).returncode == 0
    clone = tmp_path / "c"
    git(forge, "lockgate-bot", "commit", "-q", "--allow-empty", "-m", "x", folder=clone)
    for username in ("lockgate-bot", "senior"):
        refused = git(forge, username, "push", "URL", "HEAD:main", folder=clone)
        assert refused.returncode != 0
        assert "not allowed to push code to protected branches" in refused.stderr
    before = forge.as_user("senior").merge_request(iid).sha
    pushed = git(
        forge, "lockgate-bot", "push", "--force", "URL", "HEAD:lockgate/dev/app", folder=clone
    )
    assert pushed.returncode == 0, pushed.stderr
    assert forge.as_user("senior").merge_request(iid).sha != before


def test_a_credential_that_only_reads_cannot_even_ask_to_push(forge, tmp_path):
    """The agent's probe stands on this: 403 on `info/refs?service=git-receive-pack`."""
    assert git(forge, "lockgate-agent", "clone", "-q", "URL", str(tmp_path / "c")).returncode == 0
    refused = git(forge, "lockgate-agent", "push", "URL", "HEAD:any", folder=tmp_path / "c")
    assert "403" in refused.stderr
    asked = forge.requests.matching("GET", "info/refs$", user="lockgate-agent")
    assert [e.status for e in asked if e.query["service"] == "git-receive-pack"] == [403]


def test_git_without_or_with_a_wrong_token_is_asked_for_one(forge):
    """401 with a challenge, as GitLab answers for a private project."""
    address = forge.clone_url.replace("https://", "https://x:wrong@")
    asked = git(forge, "junior", "ls-remote", address)
    assert asked.returncode != 0
    assert forge.requests.matching("GET", "info/refs$")[-1].status == 401


def test_a_push_resets_no_approval_and_leaves_its_note(forge, clients):
    """GitLab Free (D26): the approval stays; version and system note tell when the head moved."""
    iid = open_bump(forge)
    forge.as_user("senior").approve(iid)
    forge.as_user("lockgate-bot").push("lockgate/dev/app", {"dev/more.yaml": "a: 1\n"})
    request = clients("senior").mergerequests.get(iid)
    approvals = request.approvals.get()
    assert approvals.approved
    versions = request.diffs.list(get_all=True)
    assert len(versions) == 2
    assert approvals.approved_by[0]["approved_at"] <= versions[0].created_at
    notes = [n.body for n in request.notes.list(get_all=True) if n.system]
    assert any(body.startswith("added 1 commit") for body in notes)


def test_merge_refuses_in_gitlabs_order(forge, clients):
    """401 without the right, 405 not open or draft, 422 conflict, 409 another head."""
    iid = open_bump(forge)
    senior, junior = clients("senior"), clients("junior")
    with pytest.raises(gitlab.GitlabAuthenticationError):
        junior.mergerequests.get(iid).merge()
    with pytest.raises(gitlab.GitlabMRClosedError) as moved:
        senior.mergerequests.get(iid).merge(sha="0" * 40)
    assert moved.value.response_code == 409
    forge.as_user("senior").update(iid, title="Draft: Bump")
    with pytest.raises(gitlab.GitlabMRClosedError) as draft:
        senior.mergerequests.get(iid).merge()
    assert draft.value.response_code == 405
    forge.as_user("senior").update(iid, title="Bump")
    other = forge.as_user("junior")
    other.push("other", {"dev/deployment.yaml": DEPLOYMENT.replace("1.0", "1.1")})
    forge.as_user("senior").merge(other.open("other"))
    request = senior.mergerequests.get(iid)
    assert (request.has_conflicts, request.detailed_merge_status) == (True, "conflict")
    with pytest.raises(gitlab.GitlabMRClosedError) as conflict:
        request.merge(sha=request.sha)
    assert conflict.value.response_code == 422


@pytest.mark.parametrize(
    ("method", "squash", "landed"),
    [
        ("merge", False, "merge_commit_sha"),
        ("merge", True, "merge_commit_sha"),
        ("rebase_merge", False, "merge_commit_sha"),
        ("ff", True, "squash_commit_sha"),
        ("ff", False, "sha"),
    ],
)
def test_what_landed_is_where_gitlab_says(forge, clients, method, squash, landed):
    """Merge commit, else squash commit, else head (D10), and the target is there."""
    forge.instance.project(1).merge_method = method
    iid = open_bump(forge)
    forge.as_user("lockgate-bot").push("lockgate/dev/app", {"dev/more.yaml": "a: 1\n"})
    senior = clients("senior")
    request = senior.mergerequests.get(iid)
    request.merge(sha=request.sha, squash=squash)
    request = senior.mergerequests.get(iid)
    assert (request.merge_commit_sha is None) == (method == "ff")
    assert (request.squash_commit_sha is not None) == squash
    tip = senior.branches.get("main").commit
    assert tip["id"] == getattr(request, landed)
    assert len(tip["parent_ids"]) == (1 if method == "ff" else 2)


def test_a_fast_forward_needs_the_tip_of_the_target(forge, clients):
    """Behind the target, a linear history says `need_rebase` and refuses."""
    forge.instance.project(1).merge_method = "ff"
    iid = open_bump(forge)
    other = forge.as_user("junior")
    other.push("other", {"readme.md": "x"})
    forge.as_user("senior").merge(other.open("other"))
    request = clients("senior").mergerequests.get(iid)
    assert request.detailed_merge_status == "need_rebase"
    with pytest.raises(gitlab.GitlabMRClosedError):
        request.merge()


def test_statuses_on_a_protected_branch_need_the_right_to_push_or_merge(forge, clients):
    """403 for the hub on main, 201 for a maintainer; anybody who may push the branch on a branch (D9)."""
    iid = open_bump(forge)
    sha = forge.as_user("senior").merge(iid)
    wanted = {"state": "success", "name": "lockgate/rollout"}
    with pytest.raises(gitlab.GitlabCreateError, match="403"):
        clients("lockgate-hub").commits.get(sha).statuses.create(wanted)
    clients("senior").commits.get(sha).statuses.create(wanted)
    head = clients("lockgate-hub").mergerequests.get(iid).sha
    clients("lockgate-hub").commits.get(head).statuses.create(wanted | {"ref": "lockgate/dev/app"})


def test_repeating_a_state_is_refused(forge, clients):
    """GitLab's state machine has no transition from a state to itself; another one is fine."""
    open_bump(forge)
    hub = clients("lockgate-hub")
    statuses = hub.commits.get("lockgate/dev/app").statuses
    statuses.create({"state": "running", "name": "gate"})
    with pytest.raises(gitlab.GitlabCreateError, match="Cannot transition status"):
        statuses.create({"state": "running", "name": "gate"})
    statuses.create({"state": "success", "name": "gate"})
    assert [s.status for s in statuses.list(get_all=True)] == ["success"]


def test_tokens_that_ended_and_scopes_that_lack(forge, clients):
    """Revoked and expired are 401 by name; a scope short is 403 naming the one wanted; no member sees nothing."""
    project = clients("lockgate-hub")
    forge.narrow("lockgate-hub", "read_api")
    with pytest.raises(gitlab.GitlabCreateError) as narrow:
        project.branches.create({"branch": "x", "ref": "main"})
    assert b'"scope": "api"' in narrow.value.response_body
    forge.revoke("lockgate-hub")
    with pytest.raises(gitlab.GitlabAuthenticationError) as revoked:
        project.branches.list()
    assert b"Token was revoked" in revoked.value.response_body
    other = clients("lockgate-bot")
    forge.expire("lockgate-bot")
    with pytest.raises(gitlab.GitlabAuthenticationError) as expired:
        other.branches.list()
    assert b"Token is expired" in expired.value.response_body
    forge.instance.project(1).members.pop(forge.instance.user_named("junior").id)
    with pytest.raises(gitlab.GitlabGetError, match="404 Project Not Found"):
        clients("junior")


def test_lists_come_in_pages_with_gitlabs_headers(forge, clients):
    """31 notes by pages of 20: python-gitlab follows the links and knows the total (A6)."""
    iid = open_bump(forge)
    for number in range(31):
        forge.as_user("junior").comment(iid, f"note {number}")
    request = clients("junior").mergerequests.get(iid)
    assert len(request.notes.list(get_all=True)) == 31
    pages = request.notes.list(iterator=True, per_page=20)
    assert (pages.total, pages.total_pages, pages.next_page) == (31, 2, 2)


def test_one_open_merge_request_per_source_and_target(forge, clients):
    """The second is 409 and names the first; after closing it a new one may be opened."""
    iid = open_bump(forge)
    wanted = {"source_branch": "lockgate/dev/app", "target_branch": "main", "title": "x"}
    with pytest.raises(gitlab.GitlabCreateError, match=f"409.*!{iid}"):
        clients("lockgate-bot").mergerequests.create(wanted)
    forge.as_user("junior").close(iid)
    assert clients("lockgate-bot").mergerequests.create(wanted).iid == iid + 1


def test_protections_are_a_maintainers_business(forge, clients):
    """A maintainer closes a pattern for developers and opens it again."""
    with pytest.raises(gitlab.GitlabCreateError, match="403"):
        clients("junior").protectedbranches.create({"name": "release/*"})
    rule = clients("senior").protectedbranches.create(
        {"name": "release/*", "push_access_level": 40, "merge_access_level": 40}
    )
    with pytest.raises(gitlab.GitlabCreateError, match="403"):
        clients("junior").branches.create({"branch": "release/1", "ref": "main"})
    rule.delete()
    clients("junior").branches.create({"branch": "release/1", "ref": "main"})


def test_a_branch_that_reached_the_target_by_itself_counts_as_merged(forge):
    """The head of a merge request inside the target means merged, whoever brought it there."""
    first = open_bump(forge)
    second = forge.as_user("junior")
    sha = second.merge_request(first).sha
    second.push("copy", {"x": "1"})
    second.force_push("copy", sha)
    again = second.open("copy", "The same commit")
    forge.as_user("senior").merge(first)
    assert second.merge_request(again).state == "merged"
