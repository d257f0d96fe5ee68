"""What the pages show: people, times, the state of a merge request in words. Templates only lay it out."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from sandbox.forge.diff_view import FileView, file_view
from sandbox.forge.entities_change import deployed_merge_requests
from sandbox.forge.instance import Instance
from sandbox.forge.markdown import render
from sandbox.forge.merging import Merging
from sandbox.forge.model import DEVELOPER, ROLES, MergeRequest, Project, User

HUES = (212, 265, 160, 24, 340, 190)
BLOCKERS = {
    "mergeable": "Ready to merge.",
    "not_open": "",
    "draft_status": "Marked as a draft.",
    "broken_status": "The source or target branch is gone.",
    "conflict": "There are merge conflicts.",
    "need_rebase": "Needs a rebase: the target branch has moved on.",
}
ICONS = {
    "success": "✓",
    "failed": "✕",
    "running": "◐",
    "pending": "○",
    "canceled": "⊘",
    "skipped": "»",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One line of the history, or one comment."""

    kind: str  # comment | system | state
    user: User
    at: str
    html: Markup


def ago(stamp: str) -> str:
    """Say how long ago in one unit."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' if count > 1 else ''} ago"
    return "just now" if seconds < 5 else f"{int(seconds)} seconds ago"


def initials(user: User) -> str:
    return "".join(word[0] for word in user.name.split()[:2]).upper()


def avatar(user: User) -> str:
    """A round badge with the initials, in a colour of the person's own."""
    hue = HUES[user.id % len(HUES)]
    shape = '<rect width="40" height="40" rx="10"' if user.bot else '<circle cx="20" cy="20" r="20"'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40">'
        f'{shape} fill="hsl({hue} 45% 88%)"/>'
        f'<text x="20" y="26" text-anchor="middle" font-family="sans-serif" font-size="15" '
        f'font-weight="600" fill="hsl({hue} 50% 32%)">{initials(user)}</text></svg>'
    )


def role(project: Project, user: User) -> str:
    level = project.members.get(user.id, 0)
    return next((name for name, value in ROLES.items() if value == level), "")


def _article(word: str) -> str:
    return f"a {word}" if word else "no member"


@dataclass(frozen=True, slots=True)
class Views:
    instance: Instance
    merging: Merging

    def merge_request(self, request: MergeRequest, viewer: User) -> dict[str, Any]:
        project = self.instance.project(request.project_id)
        repository = self.instance.repository(project)
        newest = request.versions[0]
        files = [file_view(f) for f in repository.diff(newest.base_sha, newest.head_sha)]
        detailed = self.merging.detailed_status(request)
        commits = repository.commits(f"{newest.base_sha}..{newest.head_sha}")
        return {
            "request": request,
            "author": self.instance.user(request.author_id),
            "description": Markup(render(request.description)),
            "files": files,
            "totals": _totals(files),
            "commits": commits,
            "detailed": detailed,
            "blocker": BLOCKERS[detailed],
            "head_status": self._statuses(project, request.sha),
            "landed_status": self._statuses(project, request.landed_sha)
            if request.landed_sha not in {None, request.sha}
            else [],
            "deployments": self.deployments(project, request),
            "approvals": [
                (self.instance.user(a.user_id), a.approved_at, a.approved_at < newest.created_at)
                for a in request.approvals
            ],
            "activity": self.activity(request),
            "merged_by": self._user(request.merge_user_id),
            "closed_by": self._user(request.closed_by_id),
            "rights": self.rights(project, request, viewer, detailed),
        }

    def _user(self, user_id: int | None) -> User | None:
        return None if user_id is None else self.instance.user(user_id)

    def rights(
        self, project: Project, request: MergeRequest, viewer: User, detailed: str
    ) -> dict[str, Any]:
        """Which buttons the viewer gets, and why not the others."""
        able = project.members.get(viewer.id, 0) >= DEVELOPER
        approved = any(a.user_id == viewer.id for a in request.approvals)
        may_merge = self.instance.may(project, viewer, request.target_branch, "merge")
        opened = request.state == "opened"
        return {
            "approve": able and opened and not approved,
            "unapprove": able and opened and approved,
            "merge": may_merge and detailed == "mergeable",
            "no_merge": ""
            if may_merge or not opened
            else (
                f"{viewer.name} is {_article(role(project, viewer))}: only maintainers merge "
                f"into {request.target_branch}."
            ),
            "close": able and opened,
            "reopen": able and request.state == "closed",
            "revert": able and request.state == "merged",
        }

    def _statuses(self, project: Project, sha: str | None) -> list[Any]:
        found = [
            s for s in self.instance.state.statuses if s.sha == sha and s.project_id == project.id
        ]
        return list({s.name: s for s in found}.values())

    def deployments(self, project: Project, request: MergeRequest) -> list[tuple[Any, Any]]:
        """The newest deployment of each environment that brought this merge request."""
        if request.landed_sha is None:
            return []
        places = {e.id: e for e in self.instance.state.environments}
        newest: dict[int, Any] = {}
        for deployment in self.instance.state.deployments:
            if deployment.project_id != project.id:
                continue
            if request in deployed_merge_requests(self.instance, project, deployment):
                newest[deployment.environment_id] = deployment
        shown = [(places[place], deployment) for place, deployment in newest.items()]
        return sorted(shown, key=lambda pair: (not pair[0].name.endswith("/rollout"), pair[0].name))

    def activity(self, request: MergeRequest) -> list[Activity]:
        """Comments, system notes and changes of state, oldest first."""
        words = {"merged": "merged", "closed": "closed", "reopened": "reopened"}
        found = [
            Activity(
                kind="system" if note.system else "comment",
                user=self.instance.user(note.author_id),
                at=note.created_at,
                html=Markup(render(note.body)),
            )
            for note in self.instance.notes(request)
        ]
        found += [
            Activity(
                kind="state",
                user=self.instance.user(event.user_id),
                at=event.created_at,
                html=Markup("{}").format(words[event.state]),
            )
            for event in request.events
        ]
        return sorted(found, key=lambda item: item.at)


def _totals(files: list[FileView]) -> tuple[int, int]:
    return sum(f.added for f in files), sum(f.removed for f in files)
