"""API v4, the part Lockgate uses; one module an area, each adding its routes."""

from sandbox.forge.api import (
    deployments,
    files,
    merge_requests,
    notes,
    projects,
    repository,
    statuses,
)
from sandbox.forge.wire import Routes


def routes() -> Routes:
    """Return every endpoint."""
    every = Routes()
    for area in (projects, repository, files, merge_requests, notes, statuses, deployments):
        area.register(every)
    return every
