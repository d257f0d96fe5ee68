"""Branches, protections, commits, trees and comparisons."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from sandbox.forge import entities
from sandbox.forge.access import FILE_READS, require_level
from sandbox.forge.entities_change import merge_request_basic
from sandbox.forge.model import DEVELOPER, MAINTAINER, REPORTER, Protection
from sandbox.forge.refusal import Refusal, bad_request, forbidden, not_found
from sandbox.forge.repository import Commit, Repository
from sandbox.forge.wire import Call, Handler, Reply, Routes, answer

ROOT = "/projects/:id/repository"


def register(routes: Routes) -> None:
    get = _reader(routes)
    get(f"{ROOT}/branches", branches)
    get(f"{ROOT}/branches/:branch", branch)
    routes.add("POST", f"{ROOT}/branches")(create_branch)
    routes.add("DELETE", f"{ROOT}/branches/:branch")(delete_branch)
    get(f"{ROOT}/commits", commits)
    get(f"{ROOT}/commits/:sha", commit)
    get(f"{ROOT}/commits/:sha/refs", refs)
    get(f"{ROOT}/commits/:sha/diff", commit_diff)
    get(f"{ROOT}/commits/:sha/merge_requests", merge_requests)
    routes.add("POST", f"{ROOT}/commits/:sha/revert")(revert)
    get(f"{ROOT}/tree", tree)
    get(f"{ROOT}/compare", compare)
    get(f"{ROOT}/merge_base", merge_base)
    get("/projects/:id/protected_branches", protected_branches)
    get("/projects/:id/protected_branches/:name", protected_branch)
    routes.add("POST", "/projects/:id/protected_branches")(protect)
    routes.add("DELETE", "/projects/:id/protected_branches/:name")(unprotect)


def _reader(routes: Routes) -> Callable[[str, Handler], Handler]:
    return lambda pattern, handler: routes.add("GET", pattern, scopes=FILE_READS)(handler)


def repository_of(call: Call) -> Repository:
    project = call.project
    require_level(project, call.caller, REPORTER)
    return call.instance.repository(project)


def commit_of(call: Call, revision: str) -> Commit:
    repository = repository_of(call)
    sha = repository.find(revision)
    if sha is None:
        raise not_found("Commit")
    return repository.commit(sha)


def branches(call: Call) -> Reply:
    project, search = call.project, call.text("search")
    found = {n: s for n, s in repository_of(call).branches().items() if _searched(search, n)}
    return call.page(
        found,
        lambda n: entities.branch(call.instance, project, call.caller.user, n, found[n]),
    )


def _searched(search: str, name: str) -> bool:
    """GitLab's search: `^start`, `end$`, or anywhere."""
    if search.startswith("^"):
        return name.startswith(search[1:])
    return name.endswith(search[:-1]) if search.endswith("$") else search in name


def branch(call: Call) -> Reply:
    name = call.names["branch"]
    sha = repository_of(call).branches().get(name)
    if sha is None:
        raise not_found("Branch")
    return answer(entities.branch(call.instance, call.project, call.caller.user, name, sha))


def create_branch(call: Call) -> Reply:
    name, ref = str(call.required("branch")), str(call.required("ref"))
    project = call.project
    require_level(project, call.caller, DEVELOPER)
    call.merging.create_branch(project, call.caller.user, name, ref)
    sha = repository_of(call).branches()[name]
    return answer(entities.branch(call.instance, project, call.caller.user, name, sha), 201)


def delete_branch(call: Call) -> Reply:
    project, name = call.project, call.names["branch"]
    require_level(project, call.caller, DEVELOPER)
    if name not in repository_of(call).branches():
        raise not_found("Branch")
    if call.instance.protection(project, name):
        raise forbidden("Protected branch cannot be deleted")
    call.merging.delete_branch(project, call.caller.user, name)
    return Reply(status=204)


def commits(call: Call) -> Reply:
    repository, project = repository_of(call), call.project
    revision = call.text("ref_name") or project.default_branch
    span = revision.split("..")
    if any(repository.find(end) is None for end in span):
        raise not_found("Commit")
    arguments = ["..".join(repository.find(end) or "" for end in span)]
    arguments += [f"--{n}={call.text(n)}" for n in ("since", "until") if call.text(n)]
    if call.flag("first_parent"):
        arguments.append("--first-parent")
    if call.text("path"):
        arguments += ["--", call.text("path")]
    found = repository.commits(*arguments)
    return call.page(found, lambda c: entities.commit(call.instance, project, c))


def commit(call: Call) -> Reply:
    shown = commit_of(call, call.names["sha"])
    return answer(entities.commit_detail(call.instance, call.project, shown))


def refs(call: Call) -> Reply:
    sha = commit_of(call, call.names["sha"]).sha
    listed = repository_of(call).text(
        "for-each-ref", "--contains", sha, "--format=%(refname)", "refs/heads", "refs/tags"
    )
    found = []
    for ref in listed.splitlines():
        kind = "branch" if ref.startswith("refs/heads/") else "tag"
        if call.text("type", "all") in {"all", kind}:
            found.append({"type": kind, "name": ref.split("/", 2)[2]})
    return call.page(found, lambda r: r)


def commit_diff(call: Call) -> Reply:
    shown, repository = commit_of(call, call.names["sha"]), repository_of(call)
    files = repository.diff(shown.parents[0], shown.sha) if shown.parents else []
    return call.page(files, entities.diff)


def merge_requests(call: Call) -> Reply:
    """The merge requests a commit came from: as its head, in its branch, or as what it landed as."""
    sha = commit_of(call, call.names["sha"]).sha
    repository = repository_of(call)
    found = []
    for request in reversed(call.instance.merge_requests(call.project)):
        landed = {request.merge_commit_sha, request.squash_commit_sha, request.landed_sha}
        version = request.versions[0]
        own = repository.text("rev-list", f"{version.base_sha}..{version.head_sha}").split()
        if call.text("state") in {"", request.state} and (sha in landed or sha in own):
            found.append(request)
    return call.page(found, lambda m: merge_request_basic(call.instance, call.merging, m))


def revert(call: Call) -> Reply:
    project = call.project
    require_level(project, call.caller, DEVELOPER)
    name = str(call.required("branch"))
    sha = commit_of(call, call.names["sha"]).sha
    dry_run = bool(call.flag("dry_run"))
    made = call.merging.revert(project, call.caller.user, sha, name, dry_run=dry_run)
    if dry_run:
        return answer({"dry_run": "success"}, 200)
    return answer(entities.commit(call.instance, project, made), 201)


def tree(call: Call) -> Reply:
    repository = repository_of(call)
    sha = repository.find(call.text("ref") or call.project.default_branch)
    if sha is None:
        raise not_found("Tree")
    entries = repository.tree(sha, call.text("path"), recursive=bool(call.flag("recursive")))
    if not entries and call.text("path"):
        raise Refusal(404, "404 invalid revision or path Not Found")
    return call.page(
        entries,
        lambda e: {
            "id": e.sha,
            "name": e.path.rsplit("/", 1)[-1],
            "type": e.type,
            "path": e.path,
            "mode": e.mode,
        },
    )


def compare(call: Call) -> Reply:
    project, repository = call.project, repository_of(call)
    old, new = (commit_of(call, str(call.required(n))).sha for n in ("from", "to"))
    start = old if call.flag("straight") else (repository.merge_base(old, new) or old)
    made = list(reversed(repository.commits(f"{old}..{new}")))
    shown = [entities.commit(call.instance, project, c) for c in made]
    body: dict[str, Any] = {
        "commit": shown[-1] if shown else None,
        "commits": shown,
        "diffs": [entities.diff(f) for f in repository.diff(start, new)],
        "compare_timeout": False,
        "compare_same_ref": old == new,
        "web_url": f"{call.instance.project_url(project)}/-/compare/{old}...{new}",
    }
    return answer(body)


def merge_base(call: Call) -> Reply:
    wanted = call.parameters.get("refs")
    names = wanted if isinstance(wanted, list) else []
    if len(names) < 2:
        raise bad_request("Provide at least 2 refs")
    shas = [commit_of(call, str(name)).sha for name in names]
    base = shas[0]
    for _, other in pairwise(shas):
        base = repository_of(call).merge_base(base, other) or ""
    if not base:
        raise not_found("Merge Base")
    return answer(entities.commit(call.instance, call.project, commit_of(call, base)))


# --- protections ---


def protected_branches(call: Call) -> Reply:
    require_level(call.project, call.caller, DEVELOPER)
    return call.page(call.project.protections, entities.protected_branch)


def _rule(call: Call) -> Protection:
    require_level(call.project, call.caller, DEVELOPER)
    for rule in call.project.protections:
        if rule.name == call.names["name"]:
            return rule
    raise not_found("Protected Branch")


def protected_branch(call: Call) -> Reply:
    return answer(entities.protected_branch(_rule(call)))


def protect(call: Call) -> Reply:
    project, name = call.project, str(call.required("name"))
    require_level(project, call.caller, MAINTAINER)
    if any(rule.name == name for rule in project.protections):
        raise Refusal(409, f"Protected branch '{name}' already exists")
    rule = Protection(
        id=call.instance.state.next_id("protection"),
        name=name,
        push_level=call.number("push_access_level", MAINTAINER),
        merge_level=call.number("merge_access_level", MAINTAINER),
        allow_force_push=bool(call.flag("allow_force_push")),
    )
    project.protections.append(rule)
    return answer(entities.protected_branch(rule), 201)


def unprotect(call: Call) -> Reply:
    require_level(call.project, call.caller, MAINTAINER)
    call.project.protections.remove(_rule(call))
    return Reply(status=204)
