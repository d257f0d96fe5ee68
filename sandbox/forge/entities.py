"""Users, projects, branches, commits and files as GitLab's API prints them."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from sandbox.forge.instance import Instance
from sandbox.forge.model import ROLES, Hook, Project, Protection, Status, Token, User
from sandbox.forge.payloads import ssh_url
from sandbox.forge.repository import Commit, FileDiff, Repository

SHORT = 8
EVENTS = (
    "push_events",
    "issues_events",
    "confidential_issues_events",
    "merge_requests_events",
    "tag_push_events",
    "note_events",
    "confidential_note_events",
    "job_events",
    "pipeline_events",
    "wiki_page_events",
    "deployment_events",
    "feature_flag_events",
    "releases_events",
    "milestone_events",
    "emoji_events",
    "resource_access_token_events",
    "repository_update_events",
)


def user_basic(instance: Instance, user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.username,
        "public_email": user.email,
        "name": user.name,
        "state": user.state,
        "locked": False,
        "avatar_url": f"{instance.pages_url}/-/avatar/{user.username}.svg",
        # python-gitlab warns where a user lives elsewhere than the API.
        "web_url": f"{instance.url}/{user.username}",
    }


def user_public(instance: Instance, user: User) -> dict[str, Any]:
    """The caller about itself (`GET /user`)."""
    empty = dict.fromkeys(
        ("bio", "location", "linkedin", "twitter", "discord", "website_url", "github"), ""
    )
    return (
        user_basic(instance, user)
        | empty
        | {
            "created_at": user.created_at,
            "job_title": "",
            "pronouns": None,
            "organization": "",
            "bot": user.bot,
            "work_information": None,
            "local_time": None,
            "last_sign_in_at": None,
            "confirmed_at": user.created_at,
            "last_activity_on": None,
            "email": user.email,
            "theme_id": 1,
            "color_scheme_id": 1,
            "projects_limit": 0,
            "current_sign_in_at": None,
            "identities": [],
            "can_create_group": False,
            "can_create_project": False,
            "two_factor_enabled": False,
            "external": False,
            "private_profile": False,
            "commit_email": user.email,
        }
    )


def member(instance: Instance, project: Project, user: User) -> dict[str, Any]:
    return user_basic(instance, user) | {
        "access_level": project.members[user.id],
        "created_at": project.created_at,
        "expires_at": None,
        "membership_state": "active",
    }


def token(token: Token) -> dict[str, Any]:
    """`GET /personal_access_tokens/self`: everything but the secret."""
    expired = (
        token.expires_at is not None and token.expires_at <= datetime.now(UTC).date().isoformat()
    )
    return {
        "id": token.id,
        "name": token.name,
        "revoked": token.revoked,
        "created_at": token.created_at,
        "description": None,
        "scopes": token.scopes,
        "user_id": token.user_id,
        "last_used_at": None,
        "active": not token.revoked and not expired,
        "expires_at": token.expires_at,
    }


def project(instance: Instance, project: Project, user: User) -> dict[str, Any]:
    namespace, _, name = project.path.rpartition("/")
    url = instance.project_url(project)
    api = f"{instance.url}/api/v4/projects/{project.id}"
    return {
        "id": project.id,
        "description": project.description,
        "name": name,
        "name_with_namespace": f"{namespace} / {name}",
        "path": name,
        "path_with_namespace": project.path,
        "created_at": project.created_at,
        "default_branch": project.default_branch,
        "tag_list": [],
        "topics": [],
        "ssh_url_to_repo": ssh_url(project),
        "http_url_to_repo": instance.clone_url(project),
        "web_url": url,
        "readme_url": None,
        "forks_count": 0,
        "avatar_url": None,
        "star_count": 0,
        "last_activity_at": project.created_at,
        "visibility": "private",
        "namespace": {
            "id": 1,
            "name": namespace,
            "path": namespace,
            "kind": "group",
            "full_path": namespace,
            "parent_id": None,
            "avatar_url": None,
            "web_url": f"{instance.pages_url}/groups/{namespace}",
        },
        "_links": {
            "self": api,
            "merge_requests": f"{api}/merge_requests",
            "repo_branches": f"{api}/repository/branches",
            "members": f"{api}/members",
        },
        "empty_repo": False,
        "archived": project.archived,
        "issues_enabled": False,
        "merge_requests_enabled": True,
        "merge_requests_access_level": "enabled",
        "creator_id": 1,
        "updated_at": project.created_at,
        "only_allow_merge_if_pipeline_succeeds": False,
        "only_allow_merge_if_all_discussions_are_resolved": False,
        "remove_source_branch_after_merge": True,
        "merge_method": project.merge_method,
        "squash_option": project.squash_option,
        "merge_commit_template": None,
        "squash_commit_template": None,
        "permissions": {
            "project_access": {
                "access_level": project.members.get(user.id, 0),
                "notification_level": 3,
            },
            "group_access": None,
        },
    }


def commit(instance: Instance, project: Project, commit: Commit) -> dict[str, Any]:
    return {
        "id": commit.sha,
        "short_id": commit.sha[:SHORT],
        "created_at": commit.committed_at,
        "parent_ids": list(commit.parents),
        "title": commit.title,
        "message": commit.message,
        "author_name": commit.author.name,
        "author_email": commit.author.email,
        "authored_date": commit.authored_at,
        "committer_name": commit.committer.name,
        "committer_email": commit.committer.email,
        "committed_date": commit.committed_at,
        "trailers": trailers(commit.message),
        "extended_trailers": {k: [v] for k, v in trailers(commit.message).items()},
        "web_url": instance.commit_url(project, commit.sha),
    }


def commit_detail(instance: Instance, project: Project, shown: Commit) -> dict[str, Any]:
    repository = instance.repository(project)
    parent = shown.parents[0] if shown.parents else None
    added = removed = 0
    for file in repository.diff(parent, shown.sha) if parent else []:
        added += sum(line.startswith("+") for line in file.text.splitlines())
        removed += sum(line.startswith("-") for line in file.text.splitlines())
    latest = [s for s in instance.state.statuses if s.sha == shown.sha]
    return commit(instance, project, shown) | {
        "stats": {"additions": added, "deletions": removed, "total": added + removed},
        "status": latest[-1].status if latest else None,
        "project_id": project.id,
        "last_pipeline": None,
    }


def trailers(message: str) -> dict[str, str]:
    """Read `Key: value` lines of the last paragraph, as git interpret-trailers would."""
    paragraphs = message.strip().split("\n\n")
    if len(paragraphs) < 2:  # the title alone has none
        return {}
    pairs = [line.partition(": ") for line in paragraphs[-1].splitlines()]
    if not all(sep and " " not in key for key, sep, _ in pairs):
        return {}
    return {key: value for key, _, value in pairs}


def branch(instance: Instance, project: Project, user: User, name: str, sha: str) -> dict[str, Any]:
    repository = instance.repository(project)
    rules = instance.protection(project, name)
    default = repository.branches().get(project.default_branch, sha)
    return {
        "name": name,
        "commit": commit(instance, project, repository.commit(sha)),
        "merged": name != project.default_branch and repository.is_ancestor(sha, default),
        "protected": bool(rules),
        "developers_can_push": any(r.push_level == ROLES["developer"] for r in rules),
        "developers_can_merge": any(r.merge_level == ROLES["developer"] for r in rules),
        "can_push": instance.may(project, user, name, "push"),
        "default": name == project.default_branch,
        "web_url": instance.tree_url(project, name),
    }


def protected_branch(rule: Protection) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": rule.name,
        "push_access_levels": [_access(rule.id * 2, rule.push_level)],
        "merge_access_levels": [_access(rule.id * 2 + 1, rule.merge_level)],
        "allow_force_push": rule.allow_force_push,
        "inherited": False,
    }


def _access(identifier: int, level: int) -> dict[str, Any]:
    words = {0: "No one", 30: "Developers + Maintainers", 40: "Maintainers"}
    return {
        "id": identifier,
        "access_level": level,
        "access_level_description": words.get(level, str(level)),
        "deploy_key_id": None,
        "user_id": None,
        "group_id": None,
    }


def diff(file: FileDiff) -> dict[str, Any]:
    return {
        "diff": file.text,
        "collapsed": False,
        "too_large": False,
        "new_path": file.new_path,
        "old_path": file.old_path,
        "a_mode": file.old_mode if file.status != "A" else "0",
        "b_mode": file.new_mode if file.status != "D" else "0",
        "new_file": file.status == "A",
        "renamed_file": file.status == "R",
        "deleted_file": file.status == "D",
        "generated_file": None,
    }


def status(instance: Instance, status: Status) -> dict[str, Any]:
    return {
        "id": status.id,
        "sha": status.sha,
        "ref": status.ref,
        "status": status.status,
        "name": status.name,
        "target_url": status.target_url,
        "description": status.description,
        "created_at": status.created_at,
        "started_at": status.started_at,
        "finished_at": status.finished_at,
        "allow_failure": False,
        "coverage": status.coverage,
        "pipeline_id": status.pipeline_id,
        "author": user_basic(instance, instance.user(status.author_id)),
    }


def hook(hook: Hook) -> dict[str, Any]:
    return {
        "id": hook.id,
        "url": hook.url,
        "name": hook.name,
        "description": hook.description,
        "project_id": hook.project_id,
        "created_at": hook.created_at,
        "enable_ssl_verification": hook.enable_ssl_verification,
        "alert_status": "executable",
        "disabled_until": None,
        "url_variables": [],
        "push_events_branch_filter": None,
        "branch_filter_strategy": "wildcard",
        "custom_webhook_template": None,
        "custom_headers": [],
        "token_present": bool(hook.token),
        "signing_token_present": False,
    } | {event: hook.events.get(event, False) for event in EVENTS}


def file(repository: Repository, revision: str, path: str, content: bytes) -> dict[str, Any]:
    """The facts of a file beside its content (also sent as headers by `raw` and HEAD)."""
    sha = repository.find(revision) or ""
    return {
        "file_name": path.rsplit("/", 1)[-1],
        "file_path": path,
        "size": len(content),
        "content_sha256": hashlib.sha256(content).hexdigest(),
        "ref": revision,
        "blob_id": repository.text("rev-parse", f"{sha}:{path}"),
        "commit_id": sha,
        "last_commit_id": repository.text("log", "-1", "--format=%H", sha, "--", path),
    }
