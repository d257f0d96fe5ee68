"""Options that commands share, and the forge they name."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ci_bot import config
from ci_bot.errors import UsageError
from ci_bot.forges.port import Forge
from ci_bot.forges.registry import ForgeSettings, open_forge


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOptions:
    """What `forge_options` collects; passed to the command as `options`."""

    project: str
    forge_url: str
    token_file: Path | None
    ca_file: Path | None
    output: str
    verbose: bool


_FILE = click.Path(path_type=Path, dir_okay=False)


def forge_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the shared options; the command gets one `options: CommonOptions`."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        names = CommonOptions.__dataclass_fields__
        kwargs["options"] = CommonOptions(**{name: kwargs.pop(name) for name in names})
        return function(*args, **kwargs)

    for option in reversed(
        (
            click.option(
                "--project",
                envvar="LOCKGATE_PROJECT",
                default="",
                metavar="GROUP/CONFIG",
                help="The config repository on the forge (LOCKGATE_PROJECT). Required.",
            ),
            click.option(
                "--forge-url",
                default="",
                metavar="URL",
                help="Address of the forge (LOCKGATE_FORGE_URL; in GitLab CI: CI_SERVER_URL).",
            ),
            click.option(
                "--token-file",
                type=_FILE,
                help="File that holds the token, instead of LOCKGATE_TOKEN.",
            ),
            click.option(
                "--ca-file", type=_FILE, help="Certificates to trust (else SSL_CERT_FILE)."
            ),
            click.option(
                "--output",
                type=click.Choice(["text", "json"]),
                default="text",
                help="Format of the result on stdout.",
            ),
            click.option("--verbose", is_flag=True, help="Name the reason of an error too."),
        )
    ):
        wrapped = option(wrapped)
    return wrapped


def require_project(options: CommonOptions) -> str:
    """Return the project. The CI's own variables name the app's project, never this one."""
    project = options.project.strip("/").removesuffix(".git")
    if not project:
        raise UsageError(
            "--project is missing (or LOCKGATE_PROJECT): which config repository?",
            hint="give --project group/config",
        )
    if "://" in project or any(char.isspace() or char in "?#%:@\\" for char in project):
        raise UsageError(
            f"--project {project!r} is not a project path", hint="give --project group/config"
        )
    return project


def forge_settings(options: CommonOptions) -> ForgeSettings:
    """Return how to reach the forge, from options and environment."""
    project = require_project(options)
    return ForgeSettings(
        kind="gitlab",
        url=config.forge_url(options.forge_url, os.environ),
        project=project,
        token=config.token(options.token_file, os.environ),
        ca_file=config.ca_file(options.ca_file, os.environ),
    )


def make_forge(options: CommonOptions) -> Forge:
    """Return the forge the options name."""
    return open_forge(forge_settings(options))
