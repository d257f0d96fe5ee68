"""What the stand-in leaves out of GitLab's answers, each key with its reason, and which sample shows what.

A key listed here that is sent after all, or that no sample has, fails the suite: no stale excuse stays.
"""

PAID = "GitLab Premium or Ultimate"
REMOVED = "GitLab removed it; the sample is older"
FORMALITY = "a formality no client of ours reads"
NO_FORKS = "forks only, which the sandbox has not"
ADMIN = "an administrator's view"

PROJECT_FORMALITIES = """
analytics_access_level auto_cancel_pending_pipelines auto_devops_deploy_strategy
auto_devops_enabled autoclose_referenced_issues build_git_strategy build_timeout
builds_access_level can_create_merge_request_in
ci_allow_fork_pipelines_to_run_in_parent_project ci_config_path ci_default_git_depth
ci_delete_pipelines_in_seconds ci_forward_deployment_enabled
ci_forward_deployment_rollback_allowed ci_id_token_sub_claim_components
ci_job_token_scope_enabled ci_pipeline_variables_minimum_override_role
ci_push_repository_for_job_token_allowed ci_restrict_pipeline_cancellation_role
ci_separated_caches container_expiration_policy container_registry_access_level
container_registry_enabled container_registry_image_prefix custom_attributes
description_html emails_disabled emails_enabled enforce_auth_checks_on_uploads
environments_access_level external_authorization_classification_label
feature_flags_access_level forking_access_level group_runners_enabled import_error
import_status import_type import_url infrastructure_access_level issue_branch_template
issues_access_level issues_template jobs_enabled keep_latest_artifact lfs_enabled license
license_url marked_for_deletion_on merge_requests_template model_experiments_access_level
model_registry_access_level monitor_access_level open_issues_count owner packages_enabled
pages_access_level printing_merge_request_link_enabled public_jobs releases_access_level
repository_access_level repository_object_format repository_storage request_access_enabled
requirements_access_level requirements_enabled resolve_outdated_diff_discussions
restrict_user_defined_variables runner_token_expiration_interval runners_token
security_and_compliance_access_level security_and_compliance_enabled
secret_push_protection_enabled service_desk_enabled shared_runners_enabled
shared_with_groups snippets_access_level snippets_enabled statistics
suggestion_commit_message warn_about_potentially_unwanted_characters wiki_access_level
wiki_enabled allow_merge_on_skipped_pipeline public public_builds template_name
use_custom_template show_default_award_emojis
"""
PROJECT_PAID = """
approvals_before_merge compliance_frameworks mirror mirror_trigger_builds
only_allow_merge_if_all_status_checks_passed allow_pipeline_trigger_approve_deployment
group_with_project_templates_id
"""
PAID_APPROVALS = """
id iid project_id title description state created_at updated_at merge_status approvals_required
approvals_left
"""
LEFT_OUT = {
    "project": dict.fromkeys(PROJECT_FORMALITIES.split(), FORMALITY)
    | dict.fromkeys(PROJECT_PAID.split(), PAID),
    "merge_request": {"allow_collaboration": NO_FORKS, "allow_maintainer_to_push": NO_FORKS},
    "commit": {"url": REMOVED},
    "note": {
        "upvote": REMOVED,
        "downvote": REMOVED,
        "resolved": FORMALITY,
        "resolved_at": FORMALITY,
    },
    "user": {
        "skype": REMOVED,
        "followers": FORMALITY,
        "following": FORMALITY,
        "is_admin": ADMIN,
        "namespace_id": ADMIN,
        "shared_runners_minutes_limit": PAID,
        "extra_shared_runners_minutes_limit": PAID,
    },
    "protected_branch": {"code_owner_approval_required": PAID},
    # The sample is of a paid edition; Free answers with four keys, as the contract has it.
    "approvals": dict.fromkeys(PAID_APPROVALS.split(), PAID),
}
SAMPLES = {
    "project": ("gitlab4j.project",),
    "merge_request": ("gitlab4j.merge-request", "gogitlab.get_merge_request"),
    "merge_request_item": ("gogitlab.get_merge_requests",),
    "version": ("gitlab4j.merge-request-versions",),
    "version_full": ("gitlab4j.merge-request-diff",),
    "approvals": ("gitlab4j.approvals",),
    "note": ("gitlab4j.note", "gitlab4j.merge-request-note"),
    "commit": ("gitlab4j.commit", "gogitlab.get_commit"),
    "status": ("gitlab4j.commit-status",),
    "branch": ("gitlab4j.branch", "gogitlab.get_branch"),
    "protected_branch": ("gitlab4j.protected-branch",),
    "deployment": ("gitlab4j.deployment",),
    "environment": ("gitlab4j.environment",),
    "hook": ("gitlab4j.hook",),
    "user": ("gitlab4j.user", "gogitlab.get_user"),
    "member": ("gitlab4j.members",),
    "file": ("gitlab4j.repository-file",),
    "tree": ("gitlab4j.tree",),
    "compare": ("gitlab4j.compare-results",),
    "diff": ("gitlab4j.diff",),
}
RSPEC = {
    "merge_request": "merge_request",
    "merge_request_item": "merge_request",
    "branch": "branch",
    "commit": "commit/detail",
    "deployment": "deployment",
    "environment": "environment",
}
RSPEC_LISTS = {"note": "notes", "member": "members"}
# What GitLab's schema forbids or wants and GitLab's newer, published API has otherwise.
RSPEC_OUTDATED = {
    "note": ("'attachment' is a required property", "additional properties"),
    "environment": ("additional properties",),
}
# Endpoints the conversation does not ask.
NOT_IN_THE_CONVERSATION = {
    "DELETE /api/v4/projects/1/protected_branches/1": "asked in the tests of the rules",
    "POST /api/v4/projects/1/protected_branches": "asked in the tests of the rules",
    "DELETE /api/v4/projects/1/repository/files/1": "the same commit as POST commits",
    "POST /api/v4/projects/1/repository/files/1": "the same commit as POST commits",
    "PUT /api/v4/projects/1/repository/files/1": "the same commit as POST commits",
    "GET /api/v4/projects/1/members/1": "the same as members/all/:user_id",
    "GET /api/v4/metadata": "the same as /version",
    "HEAD /api/v4/projects/1/repository/files/1": "no body",
}
