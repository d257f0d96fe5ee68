"""Deployments on GitLab: the machine-readable outcome (decision 9).

The API lists them by environment and status but not by commit, takes four states, and asks for Developer rights only.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from ci_bot.core.facts import Deployment, State
from ci_bot.errors import ForgeUnavailableError
from ci_bot.forges.gitlab_facts import DEPLOYMENT_WORDS, to_deployment
from ci_bot.forges.gitlab_http import within_border

SEEN = 500  # the newest ones are looked through for a commit


class Deployments:
    """The deployments of one project. `project` is python-gitlab's."""

    def __init__(self, project: Any, own_ids: frozenset[str]) -> None:
        self._project = project
        self._own_ids = own_ids

    def ensure(self, wanted: Deployment) -> Deployment:
        """Create or move our deployment of (environment, sha) to the wanted state."""
        found = self._find(wanted)
        if found is None:
            try:
                return self._create(wanted)
            except ForgeUnavailableError:
                found = self._find(wanted)
                if found is None:
                    raise
        if DEPLOYMENT_WORDS[found.state] == DEPLOYMENT_WORDS[wanted.state]:
            return found
        return self._move(found, wanted.state)

    @within_border
    def _find(self, wanted: Deployment) -> Deployment | None:
        listed = self._project.deployments.list(
            environment=wanted.environment, order_by="id", sort="desc", iterator=True
        )
        newest = itertools.islice(listed, SEEN)
        found = (to_deployment(each.attributes) for each in newest)
        return next(
            (d for d in found if d.sha == wanted.sha and d.creator.id in self._own_ids), None
        )

    @within_border
    def _create(self, wanted: Deployment) -> Deployment:
        if not self._project.environments.list(name=wanted.environment, get_all=True):
            self._project.environments.create({"name": wanted.environment, "tier": wanted.tier})
        made = self._project.deployments.create(
            {
                "environment": wanted.environment,
                "sha": wanted.sha,
                "ref": wanted.ref,
                "tag": False,
                "status": DEPLOYMENT_WORDS[wanted.state],
            }
        )
        return to_deployment(made.attributes)

    @within_border
    def _move(self, found: Deployment, state: State) -> Deployment:
        word = DEPLOYMENT_WORDS[state]
        return to_deployment(self._project.deployments.update(int(found.id), {"status": word}))

    @within_border
    def list_of(self, sha: str, environment: str = "") -> Sequence[Deployment]:
        """Return deployments on a commit, newest first; GitLab itself lists by environment only."""
        asked: dict[str, Any] = {"order_by": "id", "sort": "desc"}
        if environment:
            asked["environment"] = environment
        listed = self._project.deployments.list(iterator=True, **asked)
        newest = itertools.islice(listed, SEEN)
        return [d for d in (to_deployment(each.attributes) for each in newest) if d.sha == sha]
