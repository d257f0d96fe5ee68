"""The pages a person reads and acts on: plain HTML over http, a cookie says as whom.

No script runs and nothing loads from elsewhere (Content-Security-Policy). A change is a POST from a page of this
very address (`Origin`), with a same-site cookie; each one ends with a redirect to the page it came from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sandbox.forge import page_view
from sandbox.forge.diff_view import file_view
from sandbox.forge.instance import Instance
from sandbox.forge.lifecycle import Lifecycle
from sandbox.forge.merging import Merging, Wish
from sandbox.forge.model import MergeRequest, Project, User
from sandbox.forge.refusal import Refusal, not_found
from sandbox.forge.wire import Reply

HERE = Path(__file__).parent
COOKIE = "acting"
REFRESH_S = 4
SHOWN = 30
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request for a page."""

    path: str
    query: Mapping[str, list[str]]
    viewer: User
    form: Mapping[str, list[str]]

    def field(self, name: str) -> str:
        return self.form.get(name, [""])[0]

    def asked(self, name: str) -> str:
        return self.query.get(name, [""])[0]


class Pages:
    """Turns addresses into pages and buttons into acts."""

    def __init__(self, instance: Instance, lifecycle: Lifecycle, merging: Merging) -> None:
        self._instance = instance
        self._lifecycle = lifecycle
        self._merging = merging
        self._views = page_view.Views(instance, merging)
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["ago"] = page_view.ago
        self._templates.globals["icons"] = page_view.ICONS

    def answer(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes
    ) -> tuple[Reply, str]:
        """Answer one request; the second value is who asked, for the log."""
        visit = Visit(
            path=unquote(path),
            query=parse_qs(query),
            viewer=self._viewer(headers),
            form=parse_qs(body.decode(errors="replace")),
        )
        with self._instance.lock:
            try:
                if method == "POST":
                    self._same_site(headers)
                    reply = self._act(visit)
                else:
                    reply = self._show(visit)
            except Refusal as refusal:
                reply = self._page("error.html", visit, {"refusal": refusal}, refusal.status)
        return reply, visit.viewer.username

    def _viewer(self, headers: Mapping[str, str]) -> User:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        found = self._instance.find_user(cookie.value) if cookie else None
        return found or self._people()[0]

    def _people(self) -> list[User]:
        """Whom the page can act as: everybody who is a person."""
        people = [user for user in self._instance.state.users if not user.bot]
        return people or self._instance.state.users

    def _same_site(self, headers: Mapping[str, str]) -> None:
        origin = headers.get("origin") or headers.get("referer", "")
        if urlsplit(origin).netloc != headers.get("host"):
            raise Refusal(403, "This request did not come from the forge's own page.")

    # --- showing ---

    def _page(self, name: str, visit: Visit, facts: dict[str, Any], status: int = 200) -> Reply:
        around = {
            "viewer": visit.viewer,
            "people": self._people(),
            "here": visit.path,
            "refused": visit.asked("refused"),
            "refresh": 0,
            "project": None,
        }
        html = self._templates.get_template(name).render(around | facts)
        return Reply(
            status=status,
            body=html.encode(),
            headers=HEADERS,
            content_type="text/html; charset=utf-8",
        )

    def _show(self, visit: Visit) -> Reply:
        path = visit.path
        if path == "/-/style.css":
            return Reply(body=(HERE / "style.css").read_bytes(), content_type="text/css")
        if path.startswith("/-/avatar/"):
            user = self._instance.user_named(path.removeprefix("/-/avatar/").removesuffix(".svg"))
            return Reply(body=page_view.avatar(user).encode(), content_type="image/svg+xml")
        if path == "/":
            return self._page("home.html", visit, {"projects": self._instance.state.projects})
        project, rest = self._project(path)
        match rest.split("/", 1):
            case ["", *_]:
                return self._show_project(visit, project)
            case ["merge_requests"]:
                return self._show_list(visit, project)
            case ["merge_requests", iid] if iid.split("/")[0].isdigit():
                request = self._instance.merge_request(project, int(iid.split("/")[0]))
                return self._show_merge_request(visit, project, request)
            case ["commit", sha]:
                return self._show_commit(visit, project, sha)
            case ["blob", rest_of_path]:
                return self._show_file(visit, project, rest_of_path)
            case ["tree", _]:
                return self._show_project(visit, project)
        raise not_found("Page")

    def _project(self, path: str) -> tuple[Project, str]:
        name, _, rest = path.strip("/").partition("/-/")
        project = self._instance.find_project(name)
        if project is None or name.isdigit():
            raise not_found("Project")
        return project, rest

    def _show_project(self, visit: Visit, project: Project) -> Reply:
        repository = self._instance.repository(project)
        tip = repository.branches()[project.default_branch]
        open_ones = [m for m in self._instance.merge_requests(project) if m.state == "opened"]
        facts = {
            "project": project,
            "files": [e for e in repository.tree(tip, recursive=True) if e.type == "blob"],
            "commits": repository.commits(f"-{SHOWN}", "--first-parent", tip),
            "open": len(open_ones),
            "clone_url": self._instance.clone_url(project),
            "members": [
                (self._instance.user(i), page_view.role(project, self._instance.user(i)))
                for i in project.members
            ],
        }
        return self._page("project.html", visit, facts)

    def _show_list(self, visit: Visit, project: Project) -> Reply:
        state = visit.asked("state") or "all"
        every = self._instance.merge_requests(project)
        facts = {
            "project": project,
            "state": state,
            "counts": {
                word: sum(word in {"all", m.state} for m in every)
                for word in ("opened", "merged", "closed", "all")
            },
            "requests": [
                (m, self._instance.user(m.author_id))
                for m in reversed(every)
                if state in {"all", m.state}
            ],
            "refresh": REFRESH_S,
        }
        return self._page("merge_requests.html", visit, facts)

    def _show_merge_request(self, visit: Visit, project: Project, request: MergeRequest) -> Reply:
        facts = self._views.merge_request(request, visit.viewer)
        still = request.state == "closed" or visit.asked("still")
        more = {"project": project, "refresh": 0 if still else REFRESH_S}
        return self._page("merge_request.html", visit, facts | more)

    def _show_commit(self, visit: Visit, project: Project, sha: str) -> Reply:
        repository = self._instance.repository(project)
        found = repository.find(sha)
        if found is None:
            raise not_found("Commit")
        commit = repository.commit(found)
        files = repository.diff(commit.parents[0], found) if commit.parents else []
        facts = {"project": project, "commit": commit, "files": [file_view(f) for f in files]}
        return self._page("commit.html", visit, facts)

    def _show_file(self, visit: Visit, project: Project, rest: str) -> Reply:
        ref, _, path = rest.partition("/")
        repository = self._instance.repository(project)
        sha = repository.find(ref)
        content = repository.blob(sha, path) if sha else None
        if content is None:
            raise not_found("File")
        lines = content.decode(errors="replace").splitlines()
        return self._page("file.html", visit, {"project": project, "path": path, "lines": lines})

    # --- acting ---

    def _act(self, visit: Visit) -> Reply:
        if visit.path == "/-/act-as":
            user = self._instance.user_named(visit.field("username"))
            cookie = f"{COOKIE}={user.username}; Path=/; SameSite=Strict; HttpOnly"
            return _redirect(_local(visit.field("back")), {"set-cookie": cookie})
        project, rest = self._project(visit.path)
        kind, _, tail = rest.partition("/")
        iid, _, button = tail.partition("/")
        if kind != "merge_requests" or not iid.isdigit():
            raise not_found("Page")
        request = self._instance.merge_request(project, int(iid))
        page = f"/{project.path}/-/merge_requests/{iid}"
        try:
            page = self._press(visit, request, button) or page
        except Refusal as refusal:
            page = f"{page}?refused={quote(str(refusal))}"
        self._instance.save()
        return _redirect(page, {})

    def _press(self, visit: Visit, request: MergeRequest, button: str) -> str:
        """Do what a button says, with the head the page showed; return where to go if elsewhere."""
        user, sha = visit.viewer, visit.field("sha")
        match button:
            case "approve":
                self._lifecycle.approve(request, user, sha)
            case "unapprove":
                self._lifecycle.unapprove(request, user)
            case "merge":
                self._merging.merge(request, user, Wish(sha=sha))
            case "close" | "reopen":
                self._lifecycle.update(request, user, {"state_event": button})
            case "revert":
                made = self._merging.open_revert(request, user)
                return f"/{self._instance.project(request.project_id).path}/-/merge_requests/{made.iid}"
            case _:
                raise not_found("Button")
        return ""


def _redirect(target: str, headers: Mapping[str, str]) -> Reply:
    return Reply(status=303, headers={"location": target, **headers}, content_type="text/plain")


def _local(target: str) -> str:
    """Only a path of ours: an address elsewhere goes home instead."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/"
