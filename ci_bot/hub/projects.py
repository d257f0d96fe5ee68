"""The projects a hub speaks for, and the forge behind each. A forge is opened in its worker, not at start."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pydantic import SecretStr

from ci_bot.core.repositories import normalise
from ci_bot.forges.port import Forge


@dataclass(frozen=True, slots=True, kw_only=True)
class HubProject:
    """One project of the configuration. The hub's token is used on these and on nothing else."""

    path: str  # group/config
    repositories: tuple[str, ...]  # as Applications spell them
    open_forge: Callable[[tuple[str, ...]], Forge] = field(
        repr=False
    )  # given the ids we wrote under
    webhook_secret: SecretStr | None = None  # None: webhooks are off

    @property
    def keys(self) -> frozenset[str]:
        """Normalised addresses of its repositories."""
        return frozenset(normalise(address) for address in self.repositories)


class Projects:
    """Looked up by what a delivery or a report names; anything else is not ours."""

    def __init__(self, projects: tuple[HubProject, ...]) -> None:
        self._projects = projects

    def __iter__(self) -> Iterator[HubProject]:
        return iter(self._projects)

    def find_by_path(self, path: str) -> HubProject | None:
        wanted = path.lower()
        return next((each for each in self._projects if each.path.lower() == wanted), None)
