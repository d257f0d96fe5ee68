"""`lockgate`: a command is imported when it is called, so that `--help` and errors come at once."""

import importlib
import sys
from collections.abc import Sequence

import click

from ci_bot.cli.output import report_error, report_unexpected
from ci_bot.errors import USAGE, CiBotError

_COMMANDS = {
    "bump": "Put a new image tag into the config repository, as one merge request.",
    "gate": "Say whether a merge request may merge, with every reason.",
    "merge": "Merge a merge request if its gate is open, at exactly the head that was judged.",
    "wait": "Wait until a merge request is merged or live, and turn the outcome into an exit code.",
    "status": "Show the state of a merge request.",
    "serve": "Run the hub: webhooks, agents, comments.",
}
_INTERRUPTED = 130


class _Lazy(click.Group):
    """A group that knows its commands by name and loads the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"ci_bot.cli.{cmd_name}").command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"lockgate {version('lockgate')}")
        except PackageNotFoundError:
            click.echo("lockgate (not installed)")
        ctx.exit()


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
    help="Show the version and exit.",
)  # fmt: skip
def cli() -> None:
    """From an image tag to a healthy rollout, with the merge request as the gate and the screen.

    Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 waiting, 4 refused or closed, 5 timed out.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no traceback reaches a user."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(given, prog_name="lockgate", standalone_mode=False)
    except CiBotError as err:
        return report_error(err, verbose="--verbose" in given)
    except click.exceptions.NoArgsIsHelpError as err:
        click.echo(err.format_message())
        return USAGE
    except click.ClickException as err:
        click.echo(f"error: {err.format_message()}", err=True)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return _INTERRUPTED
    except Exception as err:  # noqa: BLE001 - the supervisor of the process: one line, not a traceback
        return report_unexpected(err)
    return code if isinstance(code, int) else 0
