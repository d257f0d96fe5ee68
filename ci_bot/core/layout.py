"""Which folder and branch an environment is, when no `.lockgate.yaml` says so.

`dev/`, `overlays/dev` and `envs/dev` are looked for on the default branch, then a branch of that name. Exactly one
may be there: two answers are a question, not a choice.
"""

from collections.abc import Collection

from ci_bot.core.environments import CONFIG_FILE, Environment
from ci_bot.errors import UsageError


def candidate_folders(env: str) -> tuple[str, ...]:
    """Return the folders that would be an environment's, most usual first."""
    return (env, f"overlays/{env}", f"envs/{env}")


def choose_folder(env: str, present: Collection[str]) -> Environment | None:
    """Return the environment of the one folder that is there, or None where none is."""
    found = [folder for folder in candidate_folders(env) if folder in present]
    if len(found) > 1:
        raise UsageError(
            f"environment {env!r} could be {' or '.join(f'{folder}/' for folder in found)}",
            hint=f"say which in {CONFIG_FILE}, or give --path",
        )
    return Environment(name=env, path=found[0]) if found else None


def unknown_environment(env: str, known: Collection[str]) -> UsageError:
    """Return the error for an environment that nothing declares."""
    if known:
        return UsageError(
            f"{CONFIG_FILE} has no environment {env!r}",
            hint=f"it has {', '.join(sorted(known))}; add {env!r} there or give --path",
        )
    folders = ", ".join(f"{folder}/" for folder in candidate_folders(env))
    return UsageError(
        f"no environment {env!r}: there is no {CONFIG_FILE}, no folder {folders} and no branch {env!r}",
        hint=f"add {CONFIG_FILE} to the config repository, or give --path",
    )
