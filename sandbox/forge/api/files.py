"""Files at a revision, and commits made through the API."""

import base64
from typing import Any

from sandbox.forge import entities
from sandbox.forge.access import FILE_READS, require_level
from sandbox.forge.api.repository import ROOT, commit_of, repository_of
from sandbox.forge.model import DEVELOPER
from sandbox.forge.refusal import bad_request, invalid, not_found
from sandbox.forge.wire import Call, Reply, Routes, answer

Edits = dict[str, tuple[str, bytes] | None]


def register(routes: Routes) -> None:
    for method in ("GET", "HEAD"):
        routes.add(method, f"{ROOT}/files/:file_path", scopes=FILE_READS)(file)
    routes.add("GET", f"{ROOT}/files/:file_path/raw", scopes=FILE_READS)(raw)
    routes.add("POST", f"{ROOT}/files/:file_path")(create_file)
    routes.add("PUT", f"{ROOT}/files/:file_path")(update_file)
    routes.add("DELETE", f"{ROOT}/files/:file_path")(delete_file)
    routes.add("POST", f"{ROOT}/commits")(create_commit)


def _read(call: Call, revision: str) -> tuple[bytes, dict[str, Any]]:
    repository, path = repository_of(call), call.names["file_path"]
    sha = repository.find(call.project.default_branch if revision == "HEAD" else revision)
    if sha is None:
        raise not_found("Commit")
    content = repository.blob(sha, path)
    if content is None:
        raise not_found("File")
    facts = entities.file(repository, sha, path, content) | {"ref": revision}
    return content, facts


def _headers(facts: dict[str, Any]) -> dict[str, str]:
    return {f"x-gitlab-{k.replace('_', '-')}": str(v) for k, v in facts.items()}


def file(call: Call) -> Reply:
    content, facts = _read(call, str(call.required("ref")))
    if call.method == "HEAD":
        return Reply(headers=_headers(facts))
    encoded = base64.b64encode(content).decode()
    return answer(facts | {"encoding": "base64", "content": encoded})


def raw(call: Call) -> Reply:
    content, facts = _read(call, call.text("ref") or "HEAD")
    return Reply(body=content, headers=_headers(facts), content_type="text/plain; charset=utf-8")


def create_file(call: Call) -> Reply:
    return _write_file(call, "create")


def update_file(call: Call) -> Reply:
    return _write_file(call, "update")


def delete_file(call: Call) -> Reply:
    _write_file(call, "delete")
    return Reply(status=204)


def _write_file(call: Call, action: str) -> Reply:
    branch, path = str(call.required("branch")), call.names["file_path"]
    require_level(call.project, call.caller, DEVELOPER)
    step = {
        "action": action,
        "file_path": path,
        "content": call.parameters.get("content", ""),
        "encoding": call.text("encoding", "text"),
    }
    _commit(call, branch, [step])
    return answer({"file_path": path, "branch": branch}, 201 if action == "create" else 200)


def create_commit(call: Call) -> Reply:
    branch, actions = str(call.required("branch")), call.required("actions")
    require_level(call.project, call.caller, DEVELOPER)
    if not isinstance(actions, list) or not all(isinstance(a, dict) for a in actions):
        raise invalid("actions")
    sha = _commit(call, branch, actions)
    made = commit_of(call, sha)
    return answer(entities.commit_detail(call.instance, call.project, made), 201)


def _commit(call: Call, branch: str, actions: list[dict[str, Any]]) -> str:
    repository, project = repository_of(call), call.project
    message = str(call.required("commit_message"))
    start = call.text("start_sha") or call.text("start_branch")
    tip = repository.branches().get(branch)
    base = tip or repository.find(start or project.default_branch)
    if base is None or (tip is None and not start):
        raise bad_request("You can only create or edit files when you are on a branch")
    if tip is not None and start and start not in {branch, tip}:
        raise bad_request(f"A branch called '{branch}' already exists.")
    edits: Edits = {}
    for step in actions:
        _plan(repository.blob(base, str(step.get("file_path"))) is not None, step, edits)
    return call.merging.commit_files(project, call.caller.user, branch, edits, message, start)


def _plan(exists: bool, step: dict[str, Any], edits: Edits) -> None:
    """Turn one action into edits, with GitLab's refusals."""
    action, path = step.get("action"), str(step.get("file_path", ""))
    if not path or ".." in path.split("/") or path.startswith("/"):
        raise bad_request("Path cannot include directory traversal")
    if action == "create" and exists:
        raise bad_request("A file with this name already exists")
    if action in {"update", "delete"} and not exists:
        raise bad_request("A file with this name doesn't exist")
    if action not in {"create", "update", "delete", "move"}:
        raise invalid("actions[0][action]")
    if action == "delete":
        edits[path] = None
        return
    content = str(step.get("content", ""))
    decoded = base64.b64decode(content) if step.get("encoding") == "base64" else content.encode()
    if action == "move":
        edits[str(step.get("previous_path"))] = None
    edits[path] = ("100644", decoded)
