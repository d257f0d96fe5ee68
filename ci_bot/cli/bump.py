"""`lockgate bump`."""

import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from ci_bot import config
from ci_bot.cli.options import CommonOptions, forge_options, forge_settings
from ci_bot.cli.output import emit, note, patience
from ci_bot.core.images import check_digest, check_tag, parse_name
from ci_bot.core.paths import normal_path, path_problem
from ci_bot.errors import UsageError
from ci_bot.forges.registry import open_forge
from ci_bot.workflows.bump_request import BumpRequest, BumpResult


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    image: str
    tag: str
    digest: str
    drop_digest: bool
    env: str
    path: str
    service: str
    worktree: Path | None
    dry_run: bool
    allow_downgrade: bool
    commit_email: str
    timeout: float


@click.command("bump")
@click.option(
    "--image", required=True, metavar="NAME", help="The image, without tag: registry/app."
)
@click.option("--tag", required=True, help="The tag to deploy.")
@click.option("--digest", default="", metavar="sha256:…", help="Pin this digest beside the tag.")
@click.option("--drop-digest", is_flag=True, help="Remove a pinned digest and follow the tag.")
@click.option("--env", default="", metavar="NAME", help="The environment, as in .lockgate.yaml.")
@click.option("--path", default="", metavar="DIR", help="The folder in the config repository.")
@click.option("--service", default="", help="Name of the target; from the image otherwise.")
@click.option(
    "--worktree",
    type=click.Path(path_type=Path, file_okay=False),
    help="Edit this local checkout in place and commit nothing.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print what would change as a diff, and push nothing."
)
@click.option("--allow-downgrade", is_flag=True, help="Bump even from an older pipeline.")
@click.option(
    "--commit-email",
    default="",
    envvar="LOCKGATE_COMMIT_EMAIL",
    help="E-mail of the commit; the bot's no-reply address on the forge otherwise.",
)
@click.option(
    "--timeout", default=90.0, show_default=True, help="Seconds for one exchange with git."
)
@forge_options
def command(options: CommonOptions, **asked: Any) -> None:
    """Put a new image tag into the config repository, as one merge request.

    Only the bytes of the tag change. A newer bump of the same environment and service takes the place of the
    one that is open. Needs LOCKGATE_TOKEN, and --env or --path.
    """
    given = _Asked(**asked)
    request = _request(given)
    if given.worktree is not None:
        from ci_bot.workflows.worktree import bump_worktree

        result = bump_worktree(given.worktree, request)
    else:
        result = _bump(options, given, request)
    if options.output == "text" and result.diff:
        sys.stdout.write(result.diff)
    emit(_contract(result), _text(result), options.output)


def _request(given: _Asked) -> BumpRequest:
    if bool(given.env) == bool(given.path):
        raise UsageError("give --env or --path, one of them")
    if given.path and (problem := path_problem(given.path)):
        raise UsageError(f"--path {given.path!r} {problem}")
    if given.digest and given.drop_digest:
        raise UsageError("--digest and --drop-digest contradict each other")
    if given.env and not given.env.replace("-", "").replace(".", "").replace("_", "").isalnum():
        raise UsageError(f"--env {given.env!r} is not a name for an environment")
    return BumpRequest(
        image=parse_name(given.image),
        tag=check_tag(given.tag),
        digest=check_digest(given.digest),
        drop_digest=given.drop_digest,
        env=given.env,
        path=normal_path(given.path) if given.path else "",
        service=given.service,
        origin=config.origin(os.environ),
        allow_downgrade=given.allow_downgrade,
        dry_run=given.dry_run,
        email=given.commit_email,
    )


def _bump(options: CommonOptions, given: _Asked, request: BumpRequest) -> BumpResult:
    from ci_bot.repo.git import Credential, Git
    from ci_bot.repo.urls import check_url
    from ci_bot.repo.workspace import Workspace

    settings = forge_settings(options)
    git = Git(
        folder=Path(),
        credential=Credential(username="oauth2", password=settings.token),
        ca_file=settings.ca_file,
        timeout_s=given.timeout,
    )
    request = replace(request, host=urlsplit(settings.url).hostname or "")
    with (
        patience(f"bumping in {settings.project}"),
        Workspace.open(check_url(config.git_url(settings)), git) as workspace,
    ):
        from ci_bot.workflows.bump import Bump

        forge = partial(open_forge, settings)
        return Bump(request, workspace, forge, now=time.time, say=note).run()


def _contract(result: BumpResult) -> dict[str, Any]:
    """Return the documented JSON; fields are only ever added."""
    link = result.merge_request
    return {
        "changed": result.changed,
        "held": result.held,
        "branch": result.branch,
        "commit": result.commit,
        "target_branch": result.target_branch,
        "environment": result.environment,
        "path": result.path,
        "merge_request": asdict(link) if link is not None else None,
        "edits": [
            {"file": e.file, "line": e.line, "before": e.before, "after": e.after, "kind": e.kind}
            for e in result.edits
        ],
        "left": [{"file": x.file, "line": x.line, "why": x.why} for x in result.left],
        "diff": result.diff,
        "message": result.message,
    }


def _text(result: BumpResult) -> str:
    lines = [
        f"  {e.file}:{e.line}  {e.before or '(empty)'} -> {e.after or '(empty)'}"
        for e in result.edits
    ]
    if result.left:
        lines += ["left for a person:", *(f"  {x.file}:{x.line}  {x.why}" for x in result.left)]
    if result.merge_request is not None:
        lines.append(result.merge_request.url)
    return "\n".join([result.message, *lines])
