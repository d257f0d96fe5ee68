"""Where a bump goes: environment, folder, branch and what the file of each place becomes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ci_bot.core.edits import Edit, FileBump, Left, Wanted, bump_file
from ci_bot.core.environments import CONFIG_FILE, Environment, parse_repo_config
from ci_bot.core.layout import candidate_folders, choose_folder, unknown_environment
from ci_bot.errors import GitError, UsageError
from ci_bot.repo.workspace import Entry, Workspace

MOST_BYTES = 10_000_000
MOST_FILES = 50_000
_YAML = (".yaml", ".yml")
_LINK, _SUBMODULE, _FOLDER = "120000", "160000", "040000"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a bump does to the files of one commit."""

    files: dict[str, tuple[str, bytes, bytes]]  # path -> (mode, old, new)
    edits: tuple[Edit, ...]
    left: tuple[Left, ...]
    current: tuple[Left, ...]


def find_environment(workspace: Workspace, tip: str, env: str, say: Say) -> Environment:
    """Return the environment as `.lockgate.yaml` at the default branch declares it, else as the folders show."""
    paths = (CONFIG_FILE, *candidate_folders(env))
    entries = {entry.path: entry for entry in workspace.list_folder(tip, paths)}
    declared: tuple[str, ...] = ()
    config = entries.get(CONFIG_FILE)
    if config is not None:
        workspace.fetch_blobs([config.oid])
        for _, data in workspace.read_blobs([config.oid], most=MOST_BYTES):
            if isinstance(data, bytes):
                environments = parse_repo_config(data).environments
                if env in environments:
                    return environments[env]
                declared = tuple(environments)
    if declared:
        raise unknown_environment(env, declared)
    folders = [path for path, entry in entries.items() if entry.mode == _FOLDER]
    found = choose_folder(env, folders)
    if found is not None:
        say(f"environment {env}: folder {found.path}/ on the default branch")
        return found
    try:
        workspace.fetch(target=env)
    except GitError as err:
        raise unknown_environment(env, ()) from err
    say(f"environment {env}: branch {env}")
    return Environment(name=env, path=".", branch=env)


def propose(workspace: Workspace, tip: str, path: str, wanted: Wanted) -> Proposal:
    """Return the edits of every YAML file below a path of a commit."""
    entries = workspace.list_files(tip, path)
    if not entries:
        raise UsageError(
            f"there is no {path}/ on the target branch",
            hint="check --path and the environment's path",
        )
    if path != "." and len(entries) == 1 and entries[0].path == path:
        special = {_LINK: "a symbolic link", _SUBMODULE: "a submodule"}.get(entries[0].mode)
        if special:
            raise UsageError(f"{path} is {special}; Lockgate edits files of the config repo itself")
    wanted_entries = [entry for entry in entries if entry.path.lower().endswith(_YAML)]
    if len(wanted_entries) > MOST_FILES:
        raise UsageError(
            f"{len(wanted_entries)} YAML files below {path}; at most {MOST_FILES}",
            hint="give a narrower --path",
        )
    regular = [entry for entry in wanted_entries if entry.mode not in {_LINK, _SUBMODULE}]
    workspace.fetch_blobs([entry.oid for entry in regular])
    return collect(_contents(workspace, regular), wanted)


def _contents(workspace: Workspace, entries: list[Entry]) -> Iterator[tuple[str, str, bytes | int]]:
    blobs = workspace.read_blobs([entry.oid for entry in entries], most=MOST_BYTES)
    for entry, (_, data) in zip(entries, blobs, strict=True):
        yield entry.path, entry.mode, data


def collect(files: Iterable[tuple[str, str, bytes | int]], wanted: Wanted) -> Proposal:
    """Return the edits over all files; a file that is too large to read is reported."""
    changed: dict[str, tuple[str, bytes, bytes]] = {}
    edits: list[Edit] = []
    left: list[Left] = []
    current: list[Left] = []
    for path, mode, data in files:
        name = path.encode(errors="surrogateescape").decode(errors="replace")
        if isinstance(data, int):
            left.append(
                Left(file=name, line=1, why=f"{data} bytes, more than {MOST_BYTES}; not read")
            )
            continue
        bump: FileBump = bump_file(name, data, wanted)
        edits += bump.edits
        left += bump.left
        current += bump.current
        if bump.edits:
            changed[path] = (mode, data, bump.data)
    return Proposal(files=changed, edits=tuple(edits), left=tuple(left), current=tuple(current))


def require_found(proposal: Proposal, wanted: Wanted, path: str) -> None:
    """Raise where nothing names the image: a typo must not look like "nothing to change"."""
    if proposal.edits or proposal.current:
        return
    if proposal.left:
        places = "; ".join(f"{x.file}:{x.line} {x.why}" for x in proposal.left[:5])
        raise UsageError(
            f"{wanted.image} is named below {path}, but nowhere that can be edited: {places}",
            hint="edit these by hand",
        )
    raise UsageError(
        f"nothing below {path} names the image {wanted.image}",
        hint="check --image (with its registry) and --path or --env",
    )
