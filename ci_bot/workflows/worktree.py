"""`bump --worktree`: edit a local checkout in place and commit nothing."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ci_bot.core.edits import Wanted
from ci_bot.core.environments import CONFIG_FILE, parse_repo_config
from ci_bot.core.layout import candidate_folders, choose_folder, unknown_environment
from ci_bot.errors import UsageError
from ci_bot.workflows.bump import unified_diff
from ci_bot.workflows.bump_request import BumpRequest, BumpResult, Line
from ci_bot.workflows.targets import MOST_BYTES, collect, require_found


def bump_worktree(folder: Path, request: BumpRequest) -> BumpResult:
    """Edit the files below the environment's path; symbolic links and submodules are not followed."""
    if not folder.is_dir():
        raise UsageError(f"--worktree {folder} is not a folder")
    path = request.path or _find_path(folder, request.env)
    start = folder / path
    if start.is_symlink() or not start.exists():
        raise UsageError(f"there is no {path} in {folder}", hint=_absent_hint(folder, path))
    wanted = Wanted(
        image=request.image,
        tag=request.tag,
        digest=request.digest,
        drop_digest=request.drop_digest,
    )
    proposal = collect(_files(folder, start), wanted)
    require_found(proposal, wanted, path)
    if not request.dry_run:
        for name, (_, _, new) in proposal.files.items():
            _replace(folder / name, new)
    count = len(proposal.edits)
    done = "would change" if request.dry_run else "changed"
    return BumpResult(
        changed=bool(count) and not request.dry_run,
        environment=request.env,
        path=path,
        edits=tuple(
            Line(file=e.file, line=e.line, before=e.before, after=e.after, kind=e.kind)
            for e in proposal.edits
        ),
        left=tuple(Line(file=x.file, line=x.line, why=x.why) for x in proposal.left),
        message=f"{done} {count} place{'s' * (count != 1)} in {folder}; nothing is committed"
        if count
        else f"nothing to change: {request.image} is already at {request.tag} in {path}",
        diff=unified_diff(proposal) if request.dry_run else "",
    )


def _find_path(folder: Path, env: str) -> str:
    config = folder / CONFIG_FILE
    if config.is_file() and not config.is_symlink():
        environments = parse_repo_config(config.read_bytes()).environments
        if env in environments:
            return environments[env].path
        if environments:
            raise unknown_environment(env, tuple(environments))
    present = [name for name in candidate_folders(env) if (folder / name).is_dir()]
    found = choose_folder(env, present)
    if found is None:
        raise unknown_environment(env, ())
    return found.path


def _absent_hint(folder: Path, path: str) -> str:
    modules = folder / ".gitmodules"
    if modules.is_file() and path in modules.read_text(encoding="utf-8", errors="replace"):
        return "it is a submodule; run `git submodule update --init`, or give its own checkout"
    if (folder / ".git" / "info" / "sparse-checkout").is_file():
        return "this is a sparse checkout; add the path with `git sparse-checkout add`"
    if (folder / ".git" / "shallow").is_file():
        return "this is a shallow CI checkout; check that it is of the right repository and branch"
    return "check --path"


def _files(folder: Path, start: Path) -> Iterator[tuple[str, str, bytes | int]]:
    if start.is_file():
        yield _read(folder, start)
        return
    for parent, folders, names in os.walk(start):
        here = Path(parent)
        folders[:] = sorted(
            name for name in folders if name != ".git" and not (here / name / ".git").exists()
        )
        for name in sorted(names):
            file = here / name
            if name.lower().endswith((".yaml", ".yml")) and not file.is_symlink():
                yield _read(folder, file)


def _read(folder: Path, file: Path) -> tuple[str, str, bytes | int]:
    size = file.stat().st_size
    data = size if size > MOST_BYTES else file.read_bytes()
    return file.relative_to(folder).as_posix(), "100644", data


def _replace(file: Path, data: bytes) -> None:
    """Write beside and rename, so that a crash leaves the old file or the new one."""
    mode = stat.S_IMODE(file.stat().st_mode)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".lockgate-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(temporary).chmod(mode)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
