"""The bodies of webhooks, with the keys GitLab documents."""

import html
from typing import Any

from sandbox.forge.instance import Instance
from sandbox.forge.model import MergeRequest, Note, Project, User
from sandbox.forge.repository import Commit, Repository

ZERO = "0" * 40
SHOWN_COMMITS = 20
PRIVATE = 0
STATE_IDS = {"opened": 1, "closed": 2, "merged": 3}


def escaped(text: str) -> str:
    return html.escape(text, quote=False)


def push(
    instance: Instance, project: Project, user: User, ref: str, moved: tuple[str, str]
) -> dict[str, Any]:
    """The body of a push: `moved` is (old, new), zeroes where the branch was not or is no more."""
    old, new = moved
    repository = instance.repository(project)
    commits = _pushed_commits(repository, old, new)
    return {
        "object_kind": "push",
        "event_name": "push",
        "before": old,
        "after": new,
        "ref": ref,
        "ref_protected": bool(instance.protection(project, ref.removeprefix("refs/heads/"))),
        "checkout_sha": None if new == ZERO else new,
        "message": None,
        "user_id": user.id,
        "user_name": user.name,
        "user_username": user.username,
        "user_email": None,
        "user_avatar": None,
        "project_id": project.id,
        "project": _project(instance, project) | {"id": project.id},
        "repository": _repository(instance, project)
        | {
            "git_http_url": instance.clone_url(project),
            "git_ssh_url": ssh_url(project),
            "visibility_level": PRIVATE,
        },
        "commits": [
            _pushed_commit(instance, project, repository, commit)
            for commit in reversed(commits[:SHOWN_COMMITS])
        ],
        "total_commits_count": len(commits),
        "push_options": {},
    }


def merge_request(
    instance: Instance, merge_request: MergeRequest, user: User, action: str
) -> dict[str, Any]:
    project = instance.project(merge_request.project_id)
    assignees = [_hook_user(instance.user(i)) for i in merge_request.assignee_ids]
    reviewers = [_hook_user(instance.user(i)) for i in merge_request.reviewer_ids]
    attributes = _attributes(instance, project, merge_request) | {
        "action": action,
        "assignee_ids": merge_request.assignee_ids,
        "reviewer_ids": merge_request.reviewer_ids,
        "last_edited_at": None,
        "last_edited_by_id": None,
        "state_id": STATE_IDS[merge_request.state],
        "blocking_discussions_resolved": True,
        "first_contribution": False,
        "prepared_at": merge_request.created_at,
        "total_time_spent": 0,
        "time_change": 0,
        "human_total_time_spent": None,
        "human_time_change": None,
        "human_time_estimate": None,
        "url": instance.merge_request_url(merge_request),
        "merge_commit_sha": merge_request.merge_commit_sha,
    }
    return {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": _hook_user(user) | {"email": "[REDACTED]"},
        "project": _project(instance, project) | {"id": project.id, "ci_config_path": ""},
        "repository": _repository(instance, project),
        "object_attributes": attributes,
        "labels": attributes["labels"],
        "changes": {},
        "assignees": assignees,
        "reviewers": reviewers,
    }


def note(instance: Instance, merge_request: MergeRequest, user: User, note: Note) -> dict[str, Any]:
    project = instance.project(merge_request.project_id)
    attributes = _attributes(instance, project, merge_request)
    assignees = [_hook_user(instance.user(i)) for i in merge_request.assignee_ids]
    return {
        "object_kind": "note",
        "event_type": "note",
        "user": _hook_user(user) | {"email": "[REDACTED]"},
        "project_id": project.id,
        "project": _project(instance, project) | {"id": project.id},
        "repository": _repository(instance, project),
        "object_attributes": {
            "id": note.id,
            "note": note.body,
            "noteable_type": "MergeRequest",
            "author_id": note.author_id,
            "created_at": note.created_at,
            "updated_at": note.updated_at,
            "project_id": project.id,
            "attachment": None,
            "line_code": None,
            "commit_id": "",
            "noteable_id": merge_request.id,
            "system": note.system,
            "st_diff": None,
            "url": f"{instance.merge_request_url(merge_request)}#note_{note.id}",
        },
        "merge_request": attributes
        | {"position": 0, "assignee": assignees[0] if assignees else None},
    }


def _attributes(instance: Instance, project: Project, request: MergeRequest) -> dict[str, Any]:
    """What the merge request's own event and a note's have in common."""
    head = instance.repository(project).commit(request.sha)
    mergeable = request.state == "opened" and not request.draft
    return {
        "id": request.id,
        "iid": request.iid,
        "target_branch": request.target_branch,
        "source_branch": request.source_branch,
        "source_project_id": project.id,
        "target_project_id": project.id,
        "author_id": request.author_id,
        "assignee_id": request.assignee_ids[0] if request.assignee_ids else None,
        "title": request.title,
        "description": request.description,
        "created_at": request.created_at,
        "updated_at": request.updated_at,
        "milestone_id": None,
        "state": request.state,
        "merge_status": "can_be_merged" if mergeable else "unchecked",
        "detailed_merge_status": "mergeable" if mergeable else "not_open",
        "work_in_progress": request.draft,
        "draft": request.draft,
        "source": _project(instance, project),
        "target": _project(instance, project),
        "last_commit": {
            "id": head.sha,
            "message": head.message,
            "title": head.title,
            "timestamp": head.authored_at,
            "url": instance.commit_url(project, head.sha),
            "author": {"name": head.author.name, "email": head.author.email},
        },
        "labels": [
            {
                "id": position + 1,
                "title": label,
                "color": "#6699cc",
                "project_id": project.id,
                "created_at": project.created_at,
                "updated_at": project.created_at,
                "template": False,
                "description": None,
                "type": "ProjectLabel",
                "group_id": None,
            }
            for position, label in enumerate(request.labels)
        ],
    }


def _hook_user(user: User) -> dict[str, Any]:
    return {"id": user.id, "name": user.name, "username": user.username, "avatar_url": None}


def _project(instance: Instance, project: Project) -> dict[str, Any]:
    name = project.path.rsplit("/", 1)[-1]
    return {
        "name": name,
        "description": project.description,
        "web_url": instance.project_url(project),
        "avatar_url": None,
        "git_ssh_url": ssh_url(project),
        "git_http_url": instance.clone_url(project),
        "namespace": project.path.rsplit("/", 1)[0],
        "visibility_level": PRIVATE,
        "path_with_namespace": project.path,
        "default_branch": project.default_branch,
        "homepage": instance.project_url(project),
        "url": ssh_url(project),
        "ssh_url": ssh_url(project),
        "http_url": instance.clone_url(project),
    }


def _repository(instance: Instance, project: Project) -> dict[str, Any]:
    return {
        "name": project.path.rsplit("/", 1)[-1],
        "url": ssh_url(project),
        "description": project.description,
        "homepage": instance.project_url(project),
    }


def ssh_url(project: Project) -> str:
    """The address GitLab would print; nothing here answers on it."""
    return f"git@localhost:{project.path}.git"


def _pushed_commits(repository: Repository, old: str, new: str) -> list[Commit]:
    if new == ZERO:
        return []
    if old == ZERO:
        return repository.commits("-1", new)
    return repository.commits(f"{old}..{new}")


def _pushed_commit(
    instance: Instance, project: Project, repository: Repository, commit: Commit
) -> dict[str, Any]:
    parent = commit.parents[0] if commit.parents else None
    files = repository.diff(parent, commit.sha) if parent else []
    return {
        "id": commit.sha,
        "message": commit.message,
        "title": commit.title,
        "timestamp": commit.authored_at,
        "url": instance.commit_url(project, commit.sha),
        "author": {"name": commit.author.name, "email": commit.author.email},
        "added": [f.new_path for f in files if f.status == "A"],
        "modified": [f.new_path for f in files if f.status not in "AD"],
        "removed": [f.old_path for f in files if f.status == "D"],
    }
