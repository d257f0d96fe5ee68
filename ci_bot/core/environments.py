"""`.lockgate.yaml`: which folder or branch of the config repo is which environment, and who may speak for it.

```yaml
environments:
  dev:
    path: dev            # folder in the config repo; "." is the whole repo
    branch: main         # optional; the default branch otherwise
    tier: development    # optional: production | staging | testing | development | other
reporters: [lockgate-hub]   # usernames whose deployments and statuses count
approvals: 1                # approvals by people allowed to merge
```
Policy is read at the target branch, never from the merge request that would change it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

CONFIG_FILE = ".lockgate.yaml"
TIERS = ("production", "staging", "testing", "development", "other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    name: str
    path: str
    branch: str = ""  # empty: the project's default branch
    tier: str = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoConfig:
    environments: Mapping[str, Environment] = field(default_factory=dict)
    reporters: tuple[str, ...] = ()
    approvals: int = 1


def parse_repo_config(data: bytes, source: str = CONFIG_FILE) -> RepoConfig:
    """Return the configuration, or raise `ConfigError` that starts with file:line and says what would be right."""
    # The parser costs 90 ms to load; programs that only name environments do not pay for it.
    from ci_bot.core.repo_config import read_repo_config  # noqa: PLC0415

    return read_repo_config(data, source)
