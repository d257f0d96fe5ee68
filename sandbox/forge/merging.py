"""How a change lands and is taken back: merge commit, squash, fast-forward, revert, and commits through the API.

Every move of a branch goes through `pushed`, so that merge requests and webhooks follow no matter who moved it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sandbox.forge import payloads
from sandbox.forge.instance import Instance
from sandbox.forge.lifecycle import Draft, Lifecycle
from sandbox.forge.model import MergeRequest, Project, User
from sandbox.forge.payloads import ZERO
from sandbox.forge.refusal import Refusal, bad_request, forbidden, unauthorized
from sandbox.forge.repository import Commit, Conflict, Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the caller of merge asks for beside the merge itself."""

    sha: str = ""
    squash: bool | None = None
    message: str = ""
    squash_message: str = ""
    remove_source_branch: bool | None = None


@dataclass(frozen=True, slots=True)
class Merging:
    instance: Instance
    lifecycle: Lifecycle

    def pushed(self, project: Project, user: User, moves: Sequence[tuple[str, str, str]]) -> None:
        """Follow up on refs that moved: (ref, old, new)."""
        for ref, old, new in moves:
            if not ref.startswith("refs/heads/") or old == new:
                continue
            branch = ref.removeprefix("refs/heads/")
            payload = payloads.push(self.instance, project, user, ref, (old, new))
            self.instance.emit(project, "push_events", payload)
            self.lifecycle.branch_moved(project, user, branch, None if new == ZERO else new)

    def detailed_status(self, merge_request: MergeRequest) -> str:
        """Return GitLab's `detailed_merge_status`."""
        project = self.instance.project(merge_request.project_id)
        repository = self.instance.repository(project)
        target = repository.find(f"refs/heads/{merge_request.target_branch}")
        if merge_request.state != "opened":
            return "not_open"
        if merge_request.draft:
            return "draft_status"
        if target is None or repository.find(f"refs/heads/{merge_request.source_branch}") is None:
            return "broken_status"
        if self.instance.has_conflicts(project, target, merge_request.sha):
            return "conflict"
        linear = project.merge_method in {"ff", "rebase_merge"}
        if linear and not repository.is_ancestor(target, merge_request.sha):
            return "need_rebase"
        return "mergeable"

    def merge(self, merge_request: MergeRequest, user: User, wish: Wish) -> None:
        """Merge, or refuse in GitLab's order: 401 right, 405 state, 422 conflict, 409 head moved."""
        project = self.instance.project(merge_request.project_id)
        if not self.instance.may(project, user, merge_request.target_branch, "merge"):
            raise unauthorized()
        match self.detailed_status(merge_request):
            case "not_open" | "draft_status" | "broken_status":
                raise Refusal(405, "405 Method Not Allowed")
            case "conflict" | "need_rebase":
                raise Refusal(422, "Branch cannot be merged")
        self.lifecycle.check_sha(merge_request, wish.sha)
        self._land(project, merge_request, user, wish)
        remove = wish.remove_source_branch
        if remove if remove is not None else merge_request.remove_source_branch:
            self.delete_branch(project, user, merge_request.source_branch)

    def _land(self, project: Project, merge_request: MergeRequest, user: User, wish: Wish) -> None:
        repository = self.instance.repository(project)
        target = repository.find(f"refs/heads/{merge_request.target_branch}") or ""
        squash = merge_request.squash if wish.squash is None else wish.squash
        head = merge_request.sha
        if squash and project.squash_option != "never":
            head = self._squash(repository, merge_request, target, wish)
            merge_request.squash_commit_sha = head
        landed = head
        if project.merge_method != "ff":
            landed = repository.write_commit(
                repository.merged_tree(target, head),
                (target, head),
                wish.message or self._merge_message(project, merge_request),
                self.instance.person(user),
            )
            merge_request.merge_commit_sha = landed
        ref = f"refs/heads/{merge_request.target_branch}"
        repository.move(ref, landed, target)
        merge_request.squash = squash
        self.lifecycle.mark_merged(merge_request, user, landed=landed)
        self.pushed(project, user, [(ref, target, landed)])

    def _squash(
        self, repository: Repository, merge_request: MergeRequest, target: str, wish: Wish
    ) -> str:
        """Return the squash commit; like GitLab, a single commit stays as it is."""
        commits = repository.commits(f"{target}..{merge_request.sha}")
        if len(commits) == 1 and repository.is_ancestor(target, merge_request.sha):
            return merge_request.sha
        author = self.instance.person(self.instance.user(merge_request.author_id))
        tree = repository.merged_tree(target, merge_request.sha)
        message = wish.squash_message or merge_request.title
        return repository.write_commit(tree, (target,), message, author)

    def _merge_message(self, project: Project, merge_request: MergeRequest) -> str:
        return (
            f"Merge branch '{merge_request.source_branch}' into '{merge_request.target_branch}'\n\n"
            f"{merge_request.title}\n\n"
            f"See merge request {project.path}!{merge_request.iid}\n"
        )

    # --- branches and commits ---

    def create_branch(self, project: Project, user: User, branch: str, revision: str) -> None:
        repository = self.instance.repository(project)
        sha = repository.find(revision)
        if not self.instance.may(project, user, branch, "push"):
            raise forbidden()
        if sha is None:
            raise bad_request(f"Invalid reference name: {revision}")
        if branch in repository.branches():
            raise bad_request("Branch already exists")
        repository.move(f"refs/heads/{branch}", sha)
        self.pushed(project, user, [(f"refs/heads/{branch}", ZERO, sha)])

    def delete_branch(self, project: Project, user: User, branch: str) -> None:
        repository = self.instance.repository(project)
        old = repository.branches().get(branch)
        if old is None or branch == project.default_branch:
            return
        repository.delete_branch(branch)
        self.pushed(project, user, [(f"refs/heads/{branch}", old, ZERO)])

    def commit_files(
        self,
        project: Project,
        user: User,
        branch: str,
        edits: Mapping[str, tuple[str, bytes] | None],
        message: str,
        start: str = "",
    ) -> str:
        """Commit edits to a branch (made from `start` or the default branch if new); return the sha."""
        if not self.instance.may(project, user, branch, "push"):
            raise forbidden("You are not allowed to push into this branch")
        repository = self.instance.repository(project)
        old = repository.branches().get(branch)
        base = old or repository.find(start or project.default_branch) or ""
        tree = repository.edited_tree(base, edits)
        person = self.instance.person(user)
        sha = repository.write_commit(tree, (base,), message, person)
        repository.move(f"refs/heads/{branch}", sha, old)
        self.pushed(project, user, [(f"refs/heads/{branch}", old or ZERO, sha)])
        return sha

    def revert(
        self, project: Project, user: User, sha: str, branch: str, *, dry_run: bool = False
    ) -> Commit:
        """Commit the reverse of `sha` on `branch`; a merge is undone against its first parent."""
        if not self.instance.may(project, user, branch, "push"):
            raise forbidden("You are not allowed to push into this branch")
        repository = self.instance.repository(project)
        tip = repository.branches().get(branch)
        if tip is None:
            raise Refusal(404, "404 Branch Not Found")
        commit = repository.commit(sha)
        if not commit.parents:
            raise _unrevertable("conflict")
        try:
            tree = repository.merged_tree(tip, commit.parents[0], base=sha)
        except Conflict:
            raise _unrevertable("conflict") from None
        if tree == repository.find(tip, "tree"):
            raise _unrevertable("empty")
        if dry_run:
            return commit
        new = repository.write_commit(
            tree, (tip,), self._revert_message(project, commit), self.instance.person(user)
        )
        repository.move(f"refs/heads/{branch}", new, tip)
        self.pushed(project, user, [(f"refs/heads/{branch}", tip, new)])
        return repository.commit(new)

    def _revert_message(self, project: Project, commit: Commit) -> str:
        for merged in self.instance.merge_requests(project):
            if merged.merge_commit_sha == commit.sha:
                return (
                    f'Revert "{merged.title}"\n\n'
                    f"This reverts merge request !{merged.iid} ({commit.sha})\n"
                )
        return f'Revert "{commit.title}"\n\nThis reverts commit {commit.sha}\n'

    def open_revert(self, merge_request: MergeRequest, user: User) -> MergeRequest:
        """What the Revert button does: a branch with the reverse, and a merge request of it."""
        project = self.instance.project(merge_request.project_id)
        if merge_request.landed_sha is None:
            raise bad_request("Only a merged merge request can be reverted")
        branch = f"revert-{merge_request.landed_sha[:8]}"
        self.create_branch(project, user, branch, merge_request.target_branch)
        try:
            self._revert_landed(project, user, merge_request, branch)
        except Refusal:
            self.delete_branch(project, user, branch)
            raise
        draft = Draft(
            source_branch=branch,
            target_branch=merge_request.target_branch,
            title=f'Revert "{merge_request.title}"',
            description=f"This reverts merge request !{merge_request.iid}",
            remove_source_branch=True,
        )
        return self.lifecycle.open(project, user, draft)

    def _revert_landed(
        self, project: Project, user: User, merge_request: MergeRequest, branch: str
    ) -> None:
        """A fast-forward may have landed several commits: each is reverted, newest first."""
        landed = merge_request.landed_sha or ""
        shas = [landed]
        if merge_request.merge_commit_sha is None and merge_request.squash_commit_sha is None:
            base = merge_request.versions[0].base_sha
            shas = [c.sha for c in self.instance.repository(project).commits(f"{base}..{landed}")]
        for sha in shas:
            self.revert(project, user, sha, branch)


def _unrevertable(code: str) -> Refusal:
    text = (
        "Sorry, we cannot revert this commit automatically. This commit may already have been "
        "reverted, or a more recent commit may have updated some of its content."
    )
    return Refusal(400, text, {"message": text, "error_code": code})
