"""The forge's pages: what a person sees, and that the buttons do what the API does."""

import re
import urllib.error
import urllib.parse
import urllib.request

import gitlab
import pytest

from sandbox.forge.seed import DEPLOYMENT


class Browser:
    """A browser without scripts: follows redirects, keeps the cookie, sends Origin with a form."""

    def __init__(self, forge):
        self.forge = forge
        self.cookies = urllib.request.HTTPCookieProcessor()
        handlers = [urllib.request.ProxyHandler({}), self.cookies]
        self.opener = urllib.request.build_opener(*handlers)

    def get(self, path):
        with self.opener.open(self.forge.pages_url + path, timeout=10) as answer:
            return answer.read().decode()

    def post(self, path, origin=None, **fields):
        body = urllib.parse.urlencode(fields).encode()
        request = urllib.request.Request(self.forge.pages_url + path, data=body)
        request.add_header("Origin", self.forge.pages_url if origin is None else origin)
        with self.opener.open(request, timeout=10) as answer:
            return answer.read().decode()

    def act_as(self, username):
        self.post("/-/act-as", username=username, back="/")

    def press(self, iid, button):
        """Press a button the page shows, with the head it carries."""
        path = f"/group/config/-/merge_requests/{iid}"
        page = self.get(path)
        form = re.search(rf'action="{path}/{button}">.*?name="sha" value="(\w+)"', page, re.DOTALL)
        assert form, f"the page has no button {button}"
        return self.post(f"{path}/{button}", sha=form[1])


@pytest.fixture
def browser(forge):
    return Browser(forge)


@pytest.fixture
def bump(forge):
    """One open merge request of the bot that changes one line."""
    bot = forge.as_user("lockgate-bot")
    bot.push("lockgate/dev/app", {"dev/deployment.yaml": DEPLOYMENT.replace("1.0", "1.2")}, "Bump")
    return bot.open("lockgate/dev/app", "Bump app to 1.2", description="From **1.0** to 1.2.")


def test_the_story_of_one_change_by_buttons(forge, browser, bump):
    """Junior approves but may not merge, senior merges, and Revert opens the merge request that undoes it."""
    browser.act_as("junior")
    page = browser.press(bump, "approve")
    assert "Approved by" in page
    assert "only maintainers merge into main" in page
    assert f"merge_requests/{bump}/merge" not in page
    browser.act_as("senior")
    page = browser.press(bump, "merge")
    assert "Merged by" in page
    assert b"argocd-app:1.2" in _file(forge, "main")
    page = browser.press(bump, "revert")
    assert "Revert &#34;Bump app to 1.2&#34;" in page
    browser.press(2, "merge")
    assert b"argocd-app:1.0" in _file(forge, "main")


def _file(forge, ref):
    repository = forge.instance.repository(forge.instance.project(1))
    return repository.blob(ref, "dev/deployment.yaml")


def test_the_page_shows_the_diff_and_the_sanitised_texts(forge, browser, bump):
    """Description and comments are rendered; what is not harmless stays out."""
    forge.as_user("lockgate-hub").comment(
        bump, "**Live** <script>alert(1)</script> | <img src=x onerror=y>"
    )
    page = browser.get(f"/group/config/-/merge_requests/{bump}")
    assert "From <strong>1.0</strong> to 1.2." in page
    assert "<strong>Live</strong>" in page
    assert "<script" not in page
    assert "onerror" not in page
    assert "argocd-app:1.<mark>2</mark>" in page


def test_a_push_after_an_approval_is_shown(forge, browser, bump):
    """As on GitLab Free the approval stays (D26); the page says that it is older than the push."""
    forge.as_user("junior").approve(bump)
    forge.as_user("lockgate-bot").push("lockgate/dev/app", {"dev/more.yaml": "a: 1\n"})
    page = browser.get(f"/group/config/-/merge_requests/{bump}")
    assert "before the last push" in page
    assert "added 1 commit" in page


def test_a_merge_of_another_head_than_the_page_showed_is_refused(forge, browser, bump):
    """The button carries the head; a push in between turns it down, with the reason on the page."""
    browser.act_as("senior")
    page = browser.post(f"/group/config/-/merge_requests/{bump}/merge", sha="0" * 40)
    assert "SHA does not match HEAD of source branch" in page
    assert forge.as_user("senior").merge_request(bump).state == "opened"


def test_a_form_from_another_site_changes_nothing(forge, browser, bump):
    """The browser says where a form came from; elsewhere is refused, nothing said is refused too."""
    for origin in ("http://elsewhere", ""):
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            browser.post(f"/group/config/-/merge_requests/{bump}/close", origin=origin)
        refused.value.close()
    assert forge.as_user("senior").merge_request(bump).state == "opened"


def test_nothing_loads_from_elsewhere_and_no_script_runs(forge, browser):
    """The policy header allows the forge's own style and pictures only."""
    with browser.opener.open(forge.pages_url + "/group/config", timeout=10) as answer:
        policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


def test_every_page_answers(forge, browser, bump):
    """Project, list, commit, file, avatar, and a clear 404."""
    head = forge.as_user("junior").merge_request(bump).sha
    pages = {
        "/": "group/config",
        "/group/config": "lockgate-agent",
        "/group/config/-/merge_requests?state=opened": "Bump app to 1.2",
        f"/group/config/-/commit/{head}": "Bump",
        "/group/config/-/blob/main/dev/service.yaml": "myapp-service",
        "/-/avatar/junior.svg": "<svg",
        "/-/style.css": ":root",
    }
    for path, word in pages.items():
        assert word in browser.get(path), path
    with pytest.raises(urllib.error.HTTPError, match="404") as missing:
        browser.get("/group/nothing")
    missing.value.close()


def test_deployments_are_shown_where_the_change_landed(forge, browser, bump):
    """`Deployed to …` appears on the merge request a deployment brought, and on no other."""
    sha = forge.as_user("senior").merge(bump)
    other = forge.as_user("junior")
    other.push("feature", {"readme.md": "hi\n"})
    untouched = other.open("feature", "Readme")
    _deploy(forge, sha, "dev/rollout", "success")
    assert "Deployed to <strong>dev/rollout</strong>" in browser.get(
        f"/group/config/-/merge_requests/{bump}"
    )
    assert "dev/rollout" not in browser.get(f"/group/config/-/merge_requests/{untouched}")


def _deploy(forge, sha, environment, status):
    client = gitlab.Gitlab(
        forge.url, private_token=forge.token("lockgate-hub"), ssl_verify=forge.ca_file
    )
    client.projects.get(1, lazy=True).deployments.create(
        {"environment": environment, "sha": sha, "ref": "main", "tag": False, "status": status}
    )
