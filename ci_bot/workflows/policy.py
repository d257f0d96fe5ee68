"""The config repo's own word on environments, reporters and approvals, read where nobody can propose it."""

from ci_bot.core.environments import CONFIG_FILE, RepoConfig, parse_repo_config
from ci_bot.forges.port import Forge


def find_config(forge: Forge, branch: str) -> RepoConfig | None:
    """Return `.lockgate.yaml` at the tip of `branch` (the target branch), or None where there is none.

    Raises ConfigError with file:line where it cannot be read: a broken policy is not an absent one.
    """
    data = forge.get_file(CONFIG_FILE, branch)
    return None if data is None else parse_repo_config(data, CONFIG_FILE)
