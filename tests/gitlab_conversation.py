"""Several people take one change through a forge, all through the unpatched python-gitlab; each exchange is kept."""

import gitlab
import pytest
import requests

from sandbox.forge import SandboxForge
from sandbox.forge.seed import DEPLOYMENT
from tests.gitlab_contract import Exchange


class Conversation:
    """Several people talk to a forge through python-gitlab; every exchange is kept."""

    def __init__(self, forge: SandboxForge) -> None:
        self.forge = forge
        self.exchanges: list[Exchange] = []
        self.values: dict[str, dict] = {}
        self._sessions: list[requests.Session] = []

    def client(self, username: str) -> gitlab.Gitlab:
        session = requests.Session()
        session.hooks["response"].append(self._keep)
        self._sessions.append(session)
        return gitlab.Gitlab(
            self.forge.url,
            private_token=self.forge.token(username),
            ssl_verify=self.forge.ca_file,
            session=session,
        )

    def project(self, username: str):
        return self.client(username).projects.get(self.forge.project_path)

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    def _keep(self, response: requests.Response, *_: object, **__: object) -> None:
        body = response.request.body or b""
        self.exchanges.append(
            Exchange(
                method=response.request.method or "",
                url=response.request.url or "",
                body=body.encode() if isinstance(body, str) else body,
                content_type=response.request.headers.get("content-type", ""),
                status=response.status_code,
                answer=response.content,
                answer_type=response.headers.get("content-type", ""),
            )
        )

    def note(self, kind: str, value) -> None:
        self.values[kind] = value if isinstance(value, dict) else value.asdict()


def hold(talk: Conversation) -> None:
    """The whole life of a change, every endpoint at least once, the refusals too."""
    bot, senior = talk.project("lockgate-bot"), talk.project("senior")
    client = talk.client("lockgate-bot")
    client.auth()
    client.version()
    talk.note("user", client.user)
    client.personal_access_tokens.get("self")
    client.users.list(username="senior")
    client.users.list(search="senior@example.com")
    client.users.get(1)
    _look_around(talk, bot)
    _change(talk, bot)
    _review(talk, bot, senior)
    _land(talk, senior)
    _report(talk)
    _administer(talk, senior)
    _refusals(talk, bot)


def _look_around(talk: Conversation, bot) -> None:
    talk.note("project", bot)
    talk.note("member", bot.members_all.list(get_all=True)[0])
    bot.members_all.get(2)
    bot.members.list(get_all=True)
    talk.note("branch", bot.branches.get("main"))
    bot.branches.list(search="^ma")
    talk.note("protected_branch", bot.protectedbranches.get("main"))
    bot.protectedbranches.list()
    talk.note("file", bot.files.get("dev/deployment.yaml", ref="main"))
    bot.files.raw("dev/deployment.yaml", ref="main")
    talk.note("tree", bot.repository_tree(path="dev", recursive=True)[0])
    bot.commits.list(ref_name="main", get_all=True)


def _change(talk: Conversation, bot) -> None:
    text = DEPLOYMENT.replace("1.0", "1.2")
    actions = [{"action": "update", "file_path": "dev/deployment.yaml", "content": text}]
    made = bot.commits.create(
        {
            "branch": "lockgate/dev/app",
            "start_branch": "main",
            "commit_message": "Bump app\n\nLockgate-Image: app:1.2",
            "actions": actions,
        }
    )
    shown = bot.commits.get(made.id)
    talk.note("commit", shown)
    talk.note("diff", shown.diff()[0])
    shown.refs()
    talk.note("compare", bot.repository_compare("main", "lockgate/dev/app"))
    bot.repository_merge_base(["main", "lockgate/dev/app"])
    shown.statuses.create({"state": "running", "name": "lockgate/gate"})
    status = shown.statuses.create(
        {
            "state": "success",
            "name": "lockgate/gate",
            "description": "1 of 1",
            "target_url": "http://127.0.0.1/x",
        }
    )
    talk.note("status", status)
    shown.statuses.list(get_all=True)


def _review(talk: Conversation, bot, senior) -> None:
    opened = bot.mergerequests.create(
        {"source_branch": "lockgate/dev/app", "target_branch": "main", "title": "Bump app"}
    )
    request = bot.mergerequests.get(opened.iid)
    talk.note("merge_request", request)
    found = bot.mergerequests.list(
        state="opened",
        source_branch="lockgate/dev/app",
        target_branch="main",
        order_by="updated_at",
        updated_after="2020-01-01T00:00:00Z",
        get_all=True,
    )
    talk.note("merge_request_item", found[0])
    request.title = "Bump app to 1.2"
    request.description = "One line."
    request.save()
    versions = request.diffs.list(get_all=True)
    talk.note("version", versions[0])
    talk.note("version_full", request.diffs.get(versions[0].id))
    request.changes()
    list(request.commits())
    bot.manager.gitlab.http_get(f"/projects/{bot.id}/merge_requests/{request.iid}/diffs")
    note = request.notes.create({"body": "Waiting for approval"})
    note.body = "Still waiting"
    note.save()
    talk.note("note", request.notes.get(note.id))
    request.notes.create({"body": "gone in a moment"}).delete()
    talk.project("junior").mergerequests.get(request.iid).approve()
    reviewer = senior.mergerequests.get(request.iid)
    reviewer.approve(sha=reviewer.sha)
    senior.mergerequests.get(request.iid).unapprove()
    senior.mergerequests.get(request.iid).approve()
    talk.note("approvals", senior.mergerequests.get(request.iid).approvals.get())
    reviewer = senior.mergerequests.get(request.iid)
    reviewer.notes.list(get_all=True, per_page=2)


def _land(talk: Conversation, senior) -> None:
    request = senior.mergerequests.get(1)
    with pytest.raises(gitlab.GitlabMRClosedError, match="SHA does not match"):
        request.merge(sha="0" * 40)
    request.merge(sha=request.sha)
    landed = senior.commits.get(request.merge_commit_sha)
    assert [m["iid"] for m in landed.merge_requests()] == [1]
    request.resourcestateevents.list(get_all=True)
    senior.branches.create({"branch": "undo", "ref": "main"})
    landed.revert(branch="undo")
    other = senior.mergerequests.create(
        {"source_branch": "undo", "target_branch": "main", "title": "Undo"}
    )
    other.state_event = "close"
    other.save()
    senior.branches.delete("undo")


def _report(talk: Conversation) -> None:
    hub = talk.project("lockgate-hub")
    sha = hub.mergerequests.get(1).merge_commit_sha
    made = hub.deployments.create(
        {
            "environment": "dev/rollout",
            "sha": sha,
            "ref": "main",
            "tag": False,
            "status": "running",
        }
    )
    made.status = "success"
    made.save()
    talk.note("deployment", hub.deployments.get(made.id))
    hub.deployments.list(environment="dev/rollout", status="success", order_by="id", sort="desc")
    assert [m.iid for m in made.mergerequests.list(get_all=True)] == [1]
    place = hub.environments.list(get_all=True)[0]
    place.tier = "development"
    place.save()
    hub.environments.create({"name": "dev/other", "tier": "development"})
    talk.note("environment", hub.environments.get(place.id))


def _administer(talk: Conversation, senior) -> None:
    hook = senior.hooks.create(
        {"url": "http://127.0.0.1:9/none", "token": "t", "note_events": True}
    )
    talk.note("hook", hook)
    hook.push_events = False
    hook.save()
    senior.hooks.get(hook.id)
    senior.hooks.list(get_all=True)
    hook.delete()


def _refusals(talk: Conversation, bot) -> None:
    with pytest.raises(gitlab.GitlabGetError, match="404"):
        bot.mergerequests.get(99)
    with pytest.raises(gitlab.GitlabCreateError, match="does not exist"):
        bot.mergerequests.create({"source_branch": "no", "target_branch": "main", "title": "x"})
    with pytest.raises(gitlab.GitlabGetError, match="404"):
        bot.files.get("no.yaml", ref="main")
    bot.commits.create(
        {
            "branch": "second",
            "start_branch": "main",
            "commit_message": "x",
            "actions": [{"action": "create", "file_path": "x", "content": "1"}],
        }
    )
    wanted = {"source_branch": "second", "target_branch": "main", "title": "x"}
    opened = bot.mergerequests.create(wanted)
    with pytest.raises(gitlab.GitlabCreateError, match="already exists"):
        bot.mergerequests.create(wanted)
    with pytest.raises(gitlab.GitlabAuthenticationError):
        opened.merge(sha=opened.sha)
    with pytest.raises(gitlab.GitlabMRApprovalError, match="SHA does not match"):
        opened.approve(sha="0" * 40)
