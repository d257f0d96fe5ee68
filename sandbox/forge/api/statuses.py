"""Commit statuses, with GitLab's rule: on a protected branch only who may push or merge there (D9)."""

from sandbox.forge import entities
from sandbox.forge.access import FILE_READS, require_level
from sandbox.forge.api.repository import commit_of, repository_of
from sandbox.forge.model import DEVELOPER, Status, now
from sandbox.forge.refusal import bad_request, forbidden, invalid
from sandbox.forge.wire import Call, Reply, Routes, answer

STATES = {"pending", "running", "success", "failed", "canceled", "skipped"}
FINISHED = STATES - {"pending", "running"}


def register(routes: Routes) -> None:
    path = "/projects/:id/repository/commits/:sha/statuses"
    routes.add("GET", path, scopes=FILE_READS)(list_all)
    routes.add("POST", "/projects/:id/statuses/:sha")(create)


def list_all(call: Call) -> Reply:
    """The newest of each name, or with `all` every one."""
    sha = commit_of(call, call.names["sha"]).sha
    project = call.project
    found = [
        s
        for s in call.instance.state.statuses
        if s.sha == sha
        and s.project_id == project.id
        and call.text("name") in {"", s.name}
        and call.text("ref") in {"", s.ref}
    ]
    if not call.flag("all"):
        found = list({(s.name, s.ref): s for s in found}.values())
    return call.page(found, lambda s: entities.status(call.instance, s))


def create(call: Call) -> Reply:
    project, user = call.project, call.caller.user
    require_level(project, call.caller, DEVELOPER)
    state = str(call.required("state"))
    if state not in STATES:
        raise invalid("state")
    sha = commit_of(call, call.names["sha"]).sha
    ref = call.text("ref") or _branch_of(call, sha)
    if not call.instance.may(project, user, ref, "push") and not call.instance.may(
        project, user, ref, "merge"
    ):
        raise forbidden()
    name = call.text("name") or call.text("context") or "default"
    state_before = _current(call, sha, ref, name)
    if state_before is not None and state_before.status == state:
        raise bad_request(f"Cannot transition status via :{_event(state)} from :{state}")
    status = state_before
    if status is None or status.status in FINISHED:
        status = Status(
            id=call.instance.state.next_id("status"),
            project_id=project.id,
            sha=sha,
            ref=ref,
            name=name,
            status=state,
            author_id=user.id,
            pipeline_id=_pipeline(call, sha, ref),
        )
        call.instance.state.statuses.append(status)
    _fill(call, status, state)
    return answer(entities.status(call.instance, status), 201)


def _branch_of(call: Call, sha: str) -> str:
    """GitLab asks git for a branch that contains the commit; a tip counts before an ancestor."""
    branches = repository_of(call).branches()
    tips = [name for name, tip in branches.items() if tip == sha]
    if tips:
        return tips[0]
    listed = repository_of(call).text(
        "for-each-ref", "--contains", sha, "--format=%(refname:lstrip=2)", "refs/heads"
    )
    if not listed:
        raise bad_request("Reference for status not found")
    return listed.splitlines()[0]


def _current(call: Call, sha: str, ref: str, name: str) -> Status | None:
    project = call.project
    for status in reversed(call.instance.state.statuses):
        same = (status.project_id, status.sha, status.ref, status.name)
        if same == (project.id, sha, ref, name):
            return status
    return None


def _event(state: str) -> str:
    events = {"pending": "enqueue", "running": "run", "failed": "drop", "canceled": "cancel"}
    return events.get(state, state)


def _pipeline(call: Call, sha: str, ref: str) -> int:
    for status in call.instance.state.statuses:
        if (status.sha, status.ref) == (sha, ref):
            return status.pipeline_id
    return call.instance.state.next_id("pipeline")


def _fill(call: Call, status: Status, state: str) -> None:
    status.status = state
    if "description" in call.parameters:
        status.description = call.text("description") or None
    if "target_url" in call.parameters:
        status.target_url = call.text("target_url") or None
    if state != "pending":
        status.started_at = status.started_at or now()
    status.finished_at = now() if state in FINISHED else None
