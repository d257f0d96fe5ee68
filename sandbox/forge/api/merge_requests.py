"""Merge requests: list, open, change, review, merge."""

from typing import Any

from sandbox.forge import entities, entities_change
from sandbox.forge.access import require_level
from sandbox.forge.lifecycle import Draft
from sandbox.forge.merging import Wish
from sandbox.forge.model import DEVELOPER, REPORTER, MergeRequest
from sandbox.forge.refusal import invalid, not_found
from sandbox.forge.repository import FileDiff, Repository
from sandbox.forge.wire import Call, Reply, Routes, answer

ROOT = "/projects/:id/merge_requests"
ONE = f"{ROOT}/:iid"
EDITABLE = ("title", "description", "target_branch")


def register(routes: Routes) -> None:
    routes.add("GET", ROOT)(list_all)
    routes.add("POST", ROOT)(create)
    routes.add("GET", ONE)(get)
    routes.add("PUT", ONE)(update)
    routes.add("PUT", f"{ONE}/merge")(merge)
    routes.add("GET", f"{ONE}/approvals")(approvals)
    routes.add("POST", f"{ONE}/approve")(approve)
    routes.add("POST", f"{ONE}/unapprove")(unapprove)
    routes.add("GET", f"{ONE}/versions")(versions)
    routes.add("GET", f"{ONE}/versions/:version_id")(version)
    routes.add("GET", f"{ONE}/diffs")(diffs)
    routes.add("GET", f"{ONE}/changes")(changes)
    routes.add("GET", f"{ONE}/commits")(commits)
    routes.add("GET", f"{ONE}/resource_state_events")(state_events)


def _single(call: Call, request: MergeRequest) -> dict[str, Any]:
    return entities_change.merge_request(call.instance, call.merging, request, call.caller.user)


def list_all(call: Call) -> Reply:
    project = call.project
    require_level(project, call.caller, REPORTER)
    found = [m for m in call.instance.merge_requests(project) if _wanted(call, m)]
    order = call.text("order_by", "created_at")
    if order not in {"created_at", "updated_at", "merged_at", "title"}:
        raise invalid("order_by")
    found.sort(
        key=lambda m: (getattr(m, order) or "", m.id), reverse=call.text("sort", "desc") != "asc"
    )
    return call.page(
        found, lambda m: entities_change.merge_request_basic(call.instance, call.merging, m)
    )


def _wanted(call: Call, request: MergeRequest) -> bool:
    state = call.text("state", "all")
    if state not in {"all", "opened", "closed", "merged", "locked"}:
        raise invalid("state")
    exact = {
        "source_branch": request.source_branch,
        "target_branch": request.target_branch,
        "author_username": call.instance.user(request.author_id).username,
        "author_id": str(request.author_id),
    }
    iids = call.parameters.get("iids") or []
    return (
        state in {"all", request.state}
        and all(call.text(name) in {"", value} for name, value in exact.items())
        and (not iids or str(request.iid) in [str(iid) for iid in iids])
        and (not call.text("labels") or set(call.text("labels").split(",")) <= set(request.labels))
        and (not call.text("updated_after") or request.updated_at >= call.text("updated_after"))
        and (not call.text("updated_before") or request.updated_at <= call.text("updated_before"))
        and (not call.text("created_after") or request.created_at >= call.text("created_after"))
        and call.text("search").lower() in f"{request.title}\n{request.description}".lower()
    )


def _labels(value: Any) -> list[str]:
    items = value if isinstance(value, list) else str(value or "").split(",")
    return [str(item).strip() for item in items if str(item).strip()]


def create(call: Call) -> Reply:
    project = call.project
    draft = Draft(
        source_branch=str(call.required("source_branch")),
        target_branch=str(call.required("target_branch")),
        title=str(call.required("title")),
        description=call.text("description"),
        labels=tuple(_labels(call.parameters.get("labels"))),
        squash=bool(call.flag("squash")),
        remove_source_branch=call.flag("remove_source_branch"),
    )
    return answer(_single(call, call.lifecycle.open(project, call.caller.user, draft)), 201)


def get(call: Call) -> Reply:
    return answer(_single(call, call.merge_request))


def update(call: Call) -> Reply:
    request = call.merge_request
    wanted: dict[str, Any] = {n: call.text(n) for n in EDITABLE if n in call.parameters}
    for name in ("squash", "remove_source_branch"):
        if name in call.parameters:
            wanted[name] = call.flag(name)
    if "labels" in call.parameters:
        wanted["labels"] = _labels(call.parameters["labels"])
    if "add_labels" in call.parameters:
        added = _labels(call.parameters["add_labels"])
        wanted["labels"] = list(dict.fromkeys([*request.labels, *added]))
    if "state_event" in call.parameters:
        wanted["state_event"] = call.text("state_event")
        if wanted["state_event"] not in {"close", "reopen"}:
            raise invalid("state_event")
    call.lifecycle.update(request, call.caller.user, wanted)
    return answer(_single(call, request))


def merge(call: Call) -> Reply:
    request = call.merge_request
    wish = Wish(
        sha=call.text("sha"),
        squash=call.flag("squash"),
        message=call.text("merge_commit_message"),
        squash_message=call.text("squash_commit_message"),
        remove_source_branch=call.flag("should_remove_source_branch"),
    )
    call.merging.merge(request, call.caller.user, wish)
    return answer(_single(call, request))


def approvals(call: Call) -> Reply:
    request = call.merge_request
    return answer(entities_change.approvals(call.instance, request, call.caller.user))


def approve(call: Call) -> Reply:
    request = call.merge_request
    call.lifecycle.approve(request, call.caller.user, call.text("sha"))
    return answer(entities_change.approvals(call.instance, request, call.caller.user), 201)


def unapprove(call: Call) -> Reply:
    request = call.merge_request
    require_level(call.project, call.caller, DEVELOPER)
    call.lifecycle.unapprove(request, call.caller.user)
    return answer(entities_change.approvals(call.instance, request, call.caller.user), 201)


def _repository(call: Call) -> Repository:
    return call.instance.repository(call.project)


def _files(call: Call, request: MergeRequest) -> list[FileDiff]:
    newest = request.versions[0]
    return _repository(call).diff(newest.base_sha, newest.head_sha)


def versions(call: Call) -> Reply:
    request, repository = call.merge_request, _repository(call)
    return call.page(
        request.versions,
        lambda v: entities_change.version(request, v, len(repository.diff(v.base_sha, v.head_sha))),
    )


def version(call: Call) -> Reply:
    request = call.merge_request
    for known in request.versions:
        if str(known.id) == call.names["version_id"]:
            return answer(entities_change.version_full(call.instance, request, known))
    raise not_found("Merge Request Diff")


def diffs(call: Call) -> Reply:
    return call.page(_files(call, call.merge_request), entities.diff)


def changes(call: Call) -> Reply:
    request = call.merge_request
    shown = [entities.diff(file) for file in _files(call, request)]
    return answer(_single(call, request) | {"changes": shown, "overflow": False})


def commits(call: Call) -> Reply:
    newest = call.merge_request.versions[0]
    project = call.project
    found = _repository(call).commits(f"{newest.base_sha}..{newest.head_sha}")
    return call.page(found, lambda c: entities.commit(call.instance, project, c))


def state_events(call: Call) -> Reply:
    request = call.merge_request
    return call.page(
        request.events, lambda e: entities_change.state_event(call.instance, request, e)
    )
