"""`lockgate bump`: one rolling branch, one commit and one merge request per target.

The loop: fetch the fresh tip, look at what is there (a later pipeline's bump, a revert, a person's commit), derive
the edit, push with a lease on what we saw, and make the merge request say what the branch holds. A lost race starts
over on the fresh tip. Every step can be repeated: a crash after any of them is mended by running again.
"""

import difflib
from collections.abc import Callable
from dataclasses import replace

from ci_bot.core.branches import Trailers, blob_id, find_trailers, rolling_branch, seal
from ci_bot.core.changes import commit_message, draft_of, older_than
from ci_bot.core.edits import Wanted
from ci_bot.core.environments import Environment
from ci_bot.core.facts import Draft, MergeRequest, MergeRequestState
from ci_bot.core.images import short_hash, slug
from ci_bot.errors import ForeignCommitError, PushRacedError, UsageError
from ci_bot.forges.port import Forge
from ci_bot.repo.workspace import Commit, NewCommit, Workspace
from ci_bot.workflows.bump_request import BumpRequest, BumpResult, Line, MergeRequestLink
from ci_bot.workflows.landed import Landed, find_landed, find_reverted
from ci_bot.workflows.targets import Proposal, find_environment, propose, require_found

TRIES = 5


class Bump:
    """One run of the command. The forge is opened when it is first needed: its library is not cheap."""

    def __init__(
        self,
        request: BumpRequest,
        workspace: Workspace,
        open_forge: Callable[[], Forge],
        *,
        now: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._request = request
        self._workspace = workspace
        self._open_forge = open_forge
        self._now = now
        self._say = say
        self._wanted = Wanted(
            image=request.image,
            tag=request.tag,
            digest=request.digest,
            drop_digest=request.drop_digest,
        )

    def run(self) -> BumpResult:
        """Bump, starting over on the fresh tip when somebody else pushed first."""
        for _ in range(TRIES):
            try:
                return self._once()
            except PushRacedError:
                self._say("somebody pushed meanwhile; deriving the edit again")
        raise PushRacedError(
            f"lost the race for the branch {TRIES} times", hint="run the job again"
        )

    def _once(self) -> BumpResult:
        view = _View(self._request, self._workspace, self._say)
        view.look()
        result = BumpResult(
            branch=view.branch,
            target_branch=view.environment.branch,
            environment=self._request.env,
            path=view.environment.path,
        )
        if self._request.dry_run:
            return self._dry_run(view, result)
        forge = self._open_forge()
        requests = [
            mr
            for mr in forge.list_merge_requests(source_branch=view.branch)
            if not mr.from_fork and not (mr.target_branch != view.environment.branch != "")
        ]
        open_one = next((mr for mr in requests if mr.state is MergeRequestState.OPEN), None)
        target = view.environment.branch or (
            open_one.target_branch if open_one else forge.get_project().default_branch
        )
        result = replace(result, target_branch=target)
        landed = find_landed(view.history, requests, view.target, str(self._request.image))
        self._refuse_foreign(view, requests)
        if newer := self._find_newer(view, open_one, landed):
            return self._superseded(forge, view, result, newer)
        proposal = view.propose(self._wanted)
        result = _with_lines(result, proposal)
        if not proposal.edits:
            return self._nothing(forge, open_one, result)
        if held := self._held(view, landed, proposal):
            return replace(result, held=True, message=held)
        return self._publish(forge, view, proposal, result, open_one)

    def _dry_run(self, view: "_View", result: BumpResult) -> BumpResult:
        proposal = view.propose(self._wanted)
        result = _with_lines(result, proposal)
        if not proposal.edits:
            return replace(result, message=f"nothing to change: {self._already()}")
        count = len(proposal.edits)
        return replace(
            result,
            message=f"dry run: would change {count} place{'s' * (count > 1)} on {view.branch}",
            diff=unified_diff(proposal),
        )

    def _already(self) -> str:
        return f"{self._request.image} is already at {self._request.tag}"

    def _refuse_foreign(self, view: "_View", requests: list[MergeRequest]) -> None:
        head = view.rolling
        if head is None or view.ours or self._workspace.is_ancestor(head.sha, view.tip):
            return
        if any(mr.landed_sha and mr.head_sha == head.sha for mr in requests):
            return
        subject = head.message.partition("\n")[0][:80]
        raise ForeignCommitError(
            f"{view.branch} carries {head.sha[:8]} by {head.author} ({subject!r}), which is not ours; "
            "it is not overwritten",
            hint="merge or close that merge request and delete the branch, then run again",
        )

    def _find_newer(
        self, view: "_View", open_one: MergeRequest | None, landed: Landed | None
    ) -> Trailers | None:
        if self._request.allow_downgrade:
            return None
        seen = [
            view.trailers if view.ours else None,
            find_trailers(open_one.body) if open_one else None,
            landed.trailers if landed else None,
        ]
        return next((one for one in seen if older_than(self._request.origin, one)), None)

    def _superseded(
        self, forge: Forge, view: "_View", result: BumpResult, newer: Trailers
    ) -> BumpResult:
        """Change nothing; but finish the merge request of a newer bump that crashed before it."""
        if view.rolling is not None and view.ours and view.trailers == newer:
            draft = draft_of(
                view.rolling.message,
                source_branch=view.branch,
                target_branch=result.target_branch,
            )
            landed = self._workspace.is_ancestor(view.rolling.sha, view.tip)
            merged = forge.list_merge_requests(source_branch=view.branch)
            known = any(mr.head_sha == view.rolling.sha for mr in merged)
            if not landed and not known:
                forge.ensure_merge_request(draft)
        return replace(
            result,
            message=f"nothing changed: pipeline {self._request.origin.pipeline} of {newer.source} is "
            f"older than pipeline {newer.pipeline}, which bumped to {newer.tag} "
            "(--allow-downgrade overrides)",
        )

    def _nothing(
        self, forge: Forge, open_one: MergeRequest | None, result: BumpResult
    ) -> BumpResult:
        message = f"nothing to change: {self._already()} in {result.path}"
        if open_one is not None and open_one.author.id == forge.me.id:
            forge.close_merge_request(open_one.number)
            message += f"; closed {forge.sigil}{open_one.number}, which has become pointless"
        return replace(result, message=message)

    def _held(self, view: "_View", landed: Landed | None, proposal: Proposal) -> str:
        if landed is None or landed.trailers.tag != self._request.tag:
            return ""
        if self._request.digest and landed.trailers.digest != self._request.digest:
            return ""
        paths = find_reverted(landed, proposal.files)
        if not paths:
            return ""
        by = self._workspace.list_history(view.tip, most=1, path=paths[0])
        who = f" by {by[0].author} in {by[0].sha[:8]}" if by else ""
        return (
            f"held: {self._request.tag} was live in {paths[0]} ({landed.where}) and was taken back{who}; "
            "a newer image ends the hold, or take that change back yourself"
        )

    def _publish(
        self,
        forge: Forge,
        view: "_View",
        proposal: Proposal,
        result: BumpResult,
        open_one: MergeRequest | None,
    ) -> BumpResult:
        message = view.message(proposal)
        kept = view.rolling if view.holds(message) else None
        if kept is None:
            me = forge.me
            email = (
                self._request.email or f"{me.id}-{me.username}@users.noreply.{self._request.host}"
            )
            commit = self._workspace.write_commit(
                NewCommit(
                    parent=view.tip,
                    name=me.name or me.username,
                    email=email,
                    at=int(self._now()),
                    message=message,
                    files={path: (mode, new) for path, (mode, _, new) in proposal.files.items()},
                )
            )
            self._workspace.push(
                commit, view.branch, expected=view.rolling.sha if view.rolling else ""
            )
        else:
            commit = kept.sha
        draft = draft_of(message, source_branch=view.branch, target_branch=result.target_branch)
        mr = self._settle(forge, view, draft, commit)
        created = open_one is None or open_one.number != mr.number
        changed = kept is None or created
        verb = "opened" if created else "updated" if changed else "nothing to change:"
        return replace(
            result,
            changed=changed,
            commit=commit,
            merge_request=MergeRequestLink(number=mr.number, url=mr.web_url, created=created),
            message=f"{verb} {forge.sigil}{mr.number}"
            + (f": {draft.title}" if changed else f" already says so ({draft.title})"),
        )

    def _settle(self, forge: Forge, view: "_View", draft: Draft, commit: str) -> MergeRequest:
        """Make the merge request say what the branch holds, and see that it still holds it."""
        mr = forge.ensure_merge_request(draft)
        if mr.head_sha != commit:  # a forge may lag; only the branch itself knows
            self._workspace.fetch(target=view.environment.branch, rolling=view.stem)
            head = self._workspace.list_rolling(view.stem).get(view.branch)
            if head not in {commit, None}:
                raise PushRacedError("a newer bump came in between")
        return mr


class _View:
    """What one attempt sees: target tip, rolling branch, history."""

    def __init__(
        self, request: BumpRequest, workspace: Workspace, say: Callable[[str], None]
    ) -> None:
        self.request = request
        self.workspace = workspace
        self.say = say
        self.scope = request.env or slug(request.path)
        service = slug(request.service or request.image.short)
        self.stem = rolling_branch(self.scope, service)
        self.branch = self.stem
        self.environment = Environment(name=request.env, path=request.path or ".")
        self.tip = ""
        self.rolling: Commit | None = None
        self.trailers: Trailers | None = None
        self.ours = False
        self.history: list[Commit] = []

    @property
    def target(self) -> str:
        return self.branch.partition("/")[2]

    def look(self) -> None:
        """Fetch and read what the decision needs."""
        self.tip = self.workspace.fetch(rolling=self.stem)
        if self.request.env:
            found = find_environment(self.workspace, self.tip, self.request.env, self.say)
            self.environment = replace(found, path=self.request.path or found.path)
            if found.branch:
                self.tip = self.workspace.fetch(target=found.branch, rolling=self.stem)
        self._choose_branch()
        self.history = self.workspace.list_history(self.tip)

    def _choose_branch(self) -> None:
        image = str(self.request.image)
        hashed = f"{self.stem}-{short_hash(image)}"
        heads = self.workspace.list_rolling(self.stem)
        self.branch = hashed if hashed in heads else self.stem
        self._read(heads)
        if self.trailers is not None and self.trailers.image != image:
            if self.request.service:
                raise UsageError(
                    f"{self.stem} already bumps {self.trailers.image}, not {image}",
                    hint="give each image its own --service",
                )
            self.branch = hashed
            self._read(heads)

    def _read(self, heads: dict[str, str]) -> None:
        sha = heads.get(self.branch)
        self.rolling = self.workspace.get_commit(sha) if sha else None
        self.trailers = find_trailers(self.rolling.message) if self.rolling else None
        self.ours = self.rolling is not None and self._is_ours(self.rolling, self.trailers)

    def _is_ours(self, head: Commit, trailers: Trailers | None) -> bool:
        """Tell our own last commit from one that a person made, amended or put below it."""
        if trailers is None or len(head.parents) != 1 or trailers.target != self.target:
            return False
        if seal(self.workspace.list_changed_blobs(head.sha)) != trailers.seal:
            return False
        base = head.parents[0]
        return base == trailers.base or self.workspace.is_ancestor(base, self.tip)

    def propose(self, wanted: Wanted) -> Proposal:
        proposal = propose(self.workspace, self.tip, self.environment.path, wanted)
        require_found(proposal, wanted, self.environment.path)
        return proposal

    def message(self, proposal: Proposal) -> str:
        origin = self.request.origin
        trailers = Trailers(
            image=str(self.request.image),
            tag=self.request.tag,
            digest=self.request.digest,
            source=origin.source,
            pipeline=origin.pipeline,
            target=self.target,
            base=self.tip,
            seal=seal((path, blob_id(new)) for path, (_, _, new) in proposal.files.items()),
        )
        return commit_message(trailers, proposal.edits, proposal.left, origin)

    def holds(self, message: str) -> bool:
        """Return whether the branch already is this bump; then its head, and its approvals, stay."""
        new, old = find_trailers(message), self.trailers
        if not self.ours or new is None or old is None:
            return False
        return (new.seal, new.tag, new.digest) == (old.seal, old.tag, old.digest)


def _with_lines(result: BumpResult, proposal: Proposal) -> BumpResult:
    return replace(
        result,
        edits=tuple(
            Line(file=e.file, line=e.line, before=e.before, after=e.after, kind=e.kind)
            for e in proposal.edits
        ),
        left=tuple(Line(file=x.file, line=x.line, why=x.why) for x in proposal.left),
    )


def unified_diff(proposal: Proposal) -> str:
    """Return what would change, as `git diff` shows it."""
    parts: list[str] = []
    for path, (_, old, new) in proposal.files.items():
        lines = difflib.unified_diff(
            old.decode(errors="replace").splitlines(keepends=True),
            new.decode(errors="replace").splitlines(keepends=True),
            f"a/{path}",
            f"b/{path}",
        )
        parts += [
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        ]
    return "".join(parts)
