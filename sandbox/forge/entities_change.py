"""Merge requests, notes and deployments as GitLab's API prints them."""

from typing import Any

from sandbox.forge.entities import commit, diff, user_basic
from sandbox.forge.instance import Instance
from sandbox.forge.merging import Merging
from sandbox.forge.model import (
    DEVELOPER,
    Deployment,
    Environment,
    MergeRequest,
    Note,
    Project,
    StateEvent,
    User,
    Version,
)

NO_CONFLICT = {"mergeable": "can_be_merged", "draft_status": "can_be_merged"}


def merge_request_basic(
    instance: Instance, merging: Merging, request: MergeRequest
) -> dict[str, Any]:
    """An item of a list, without what GitLab works out for a single one."""
    project = instance.project(request.project_id)
    detailed = merging.detailed_status(request)
    users = instance.user
    assignees = [user_basic(instance, users(i)) for i in request.assignee_ids]
    merge_user = _maybe(instance, request.merge_user_id)
    return {
        "id": request.id,
        "iid": request.iid,
        "project_id": request.project_id,
        "title": request.title,
        "description": request.description,
        "state": request.state,
        "created_at": request.created_at,
        "updated_at": request.updated_at,
        "merged_by": merge_user,
        "merge_user": merge_user,
        "merged_at": request.merged_at,
        "closed_by": _maybe(instance, request.closed_by_id),
        "closed_at": request.closed_at,
        "target_branch": request.target_branch,
        "source_branch": request.source_branch,
        "user_notes_count": sum(not n.system for n in instance.notes(request)),
        "upvotes": 0,
        "downvotes": 0,
        "author": user_basic(instance, users(request.author_id)),
        "assignees": assignees,
        "assignee": assignees[0] if assignees else None,
        "reviewers": [user_basic(instance, users(i)) for i in request.reviewer_ids],
        "source_project_id": request.project_id,
        "target_project_id": request.project_id,
        "labels": request.labels,
        "draft": request.draft,
        "imported": False,
        "imported_from": "none",
        "work_in_progress": request.draft,
        "milestone": None,
        "merge_when_pipeline_succeeds": False,
        "merge_status": NO_CONFLICT.get(detailed, "cannot_be_merged"),
        "detailed_merge_status": detailed,
        "merge_after": None,
        "sha": request.sha,
        "merge_commit_sha": request.merge_commit_sha,
        "squash_commit_sha": request.squash_commit_sha,
        "discussion_locked": None,
        "should_remove_source_branch": None,
        "force_remove_source_branch": request.remove_source_branch,
        "prepared_at": request.created_at,
        "reference": f"!{request.iid}",
        "references": {
            "short": f"!{request.iid}",
            "relative": f"!{request.iid}",
            "full": f"{project.path}!{request.iid}",
        },
        "web_url": instance.merge_request_url(request),
        "time_stats": {
            "time_estimate": 0,
            "total_time_spent": 0,
            "human_time_estimate": None,
            "human_total_time_spent": None,
        },
        "squash": request.squash,
        "squash_on_merge": request.squash,
        "task_completion_status": {"count": 0, "completed_count": 0},
        "has_conflicts": detailed == "conflict",
        "blocking_discussions_resolved": True,
        "approvals_before_merge": None,
    }


def _maybe(instance: Instance, user_id: int | None) -> dict[str, Any] | None:
    return None if user_id is None else user_basic(instance, instance.user(user_id))


def merge_request(
    instance: Instance, merging: Merging, request: MergeRequest, user: User
) -> dict[str, Any]:
    project = instance.project(request.project_id)
    repository = instance.repository(project)
    version = request.versions[0]
    files = repository.diff(version.base_sha, version.head_sha)
    target = repository.find(f"refs/heads/{request.target_branch}")
    behind = 0
    if target and request.state == "opened":
        behind = int(repository.text("rev-list", "--count", f"{request.sha}..{target}"))
    return merge_request_basic(instance, merging, request) | {
        "subscribed": False,
        "changes_count": str(len(files)),
        "latest_build_started_at": None,
        "latest_build_finished_at": None,
        "first_deployed_to_production_at": None,
        "pipeline": None,
        "head_pipeline": None,
        "diff_refs": {
            "base_sha": version.base_sha,
            "head_sha": version.head_sha,
            "start_sha": version.start_sha,
        },
        "merge_error": None,
        "rebase_in_progress": False,
        "diverged_commits_count": behind,
        "first_contribution": False,
        "user": {"can_merge": instance.may(project, user, request.target_branch, "merge")},
    }


def approvals(instance: Instance, request: MergeRequest, user: User) -> dict[str, Any]:
    """GitLab Free: no rules, so approved means somebody approved."""
    project = instance.project(request.project_id)
    mine = any(a.user_id == user.id for a in request.approvals)
    able = project.members.get(user.id, 0) >= DEVELOPER and request.state != "merged"
    return {
        "user_has_approved": mine,
        "user_can_approve": able and not mine,
        "approved": bool(request.approvals),
        "approved_by": [
            {
                "user": user_basic(instance, instance.user(a.user_id)),
                "approved_at": a.approved_at,
            }
            for a in request.approvals
        ],
    }


def version(request: MergeRequest, version: Version, size: int) -> dict[str, Any]:
    return {
        "id": version.id,
        "head_commit_sha": version.head_sha,
        "base_commit_sha": version.base_sha,
        "start_commit_sha": version.start_sha,
        "created_at": version.created_at,
        "merge_request_id": request.id,
        "state": "collected",
        "real_size": str(size),
        "patch_id_sha": None,
    }


def version_full(instance: Instance, request: MergeRequest, shown: Version) -> dict[str, Any]:
    project = instance.project(request.project_id)
    repository = instance.repository(project)
    files = repository.diff(shown.base_sha, shown.head_sha)
    commits = repository.commits(f"{shown.base_sha}..{shown.head_sha}")
    return version(request, shown, len(files)) | {
        "commits": [commit(instance, project, c) for c in commits],
        "diffs": [diff(f) for f in files],
    }


def note(instance: Instance, request: MergeRequest, note: Note) -> dict[str, Any]:
    return {
        "id": note.id,
        "type": None,
        "body": note.body,
        "author": user_basic(instance, instance.user(note.author_id)),
        "created_at": note.created_at,
        "updated_at": note.updated_at,
        "system": note.system,
        "noteable_id": request.id,
        "noteable_type": "MergeRequest",
        "project_id": request.project_id,
        "commit_id": None,
        "resolvable": False,
        "confidential": False,
        "internal": False,
        "imported": False,
        "imported_from": "none",
        "noteable_iid": request.iid,
        "commands_changes": {},
    }


def state_event(instance: Instance, request: MergeRequest, event: StateEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "user": user_basic(instance, instance.user(event.user_id)),
        "created_at": event.created_at,
        "resource_type": "MergeRequest",
        "resource_id": request.id,
        "source_commit": None,
        "source_merge_request_id": None,
        "state": event.state,
    }


def environment_basic(environment: Environment) -> dict[str, Any]:
    return {
        "id": environment.id,
        "name": environment.name,
        "slug": environment.slug,
        "external_url": environment.external_url,
        "created_at": environment.created_at,
        "updated_at": environment.updated_at,
    }


def environment(instance: Instance, environment: Environment) -> dict[str, Any]:
    done = [
        d
        for d in instance.state.deployments
        if d.environment_id == environment.id and d.status == "success"
    ]
    return environment_basic(environment) | {
        "tier": environment.tier,
        "state": environment.state,
        "description": environment.description,
        "auto_stop_at": None,
        "auto_stop_setting": "always",
        "cluster_agent": None,
        "kubernetes_namespace": None,
        "flux_resource_path": None,
        "last_deployment": deployment(instance, done[-1]) if done else None,
    }


def deployment(instance: Instance, deployment: Deployment) -> dict[str, Any]:
    environment = next(e for e in instance.state.environments if e.id == deployment.environment_id)
    return {
        "id": deployment.id,
        "iid": deployment.iid,
        "ref": deployment.ref,
        "sha": deployment.sha,
        "created_at": deployment.created_at,
        "updated_at": deployment.updated_at,
        "user": user_basic(instance, instance.user(deployment.user_id)),
        "environment": environment_basic(environment),
        "deployable": None,
        "status": deployment.status,
    }


def deployed_merge_requests(
    instance: Instance, project: Project, deployment: Deployment
) -> list[MergeRequest]:
    """The merge requests a deployment brought: those landed since the environment's previous success."""
    repository = instance.repository(project)
    earlier = [
        d
        for d in instance.state.deployments
        if d.environment_id == deployment.environment_id
        and d.id < deployment.id
        and d.status == "success"
        and d.sha != deployment.sha
    ]
    span = deployment.sha if not earlier else f"{earlier[-1].sha}..{deployment.sha}"
    brought = set(repository.text("rev-list", span).split())
    return [
        m
        for m in instance.merge_requests(project)
        if m.landed_sha is not None and m.landed_sha in brought
    ]
