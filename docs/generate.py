"""Write docs/reference/commands.md from the command lines themselves. `make docs`; a test holds the two together."""

import sys
from pathlib import Path

import click

REFERENCE = Path(__file__).parent / "reference" / "commands.md"
HEAD = """# Commands

<!-- Written by `make docs` from the programs' own --help. -->

Exit codes of `lockgate`: 0 done · 1 failed · 2 usage or configuration · 3 waiting (gate not open, not merged in time) ·
4 refused or closed · 5 timed out (`wait`: merged, not live in time). Errors go to stderr; `--output json` on stdout is a
contract whose fields are only ever added.
"""


def render() -> str:
    """Return the whole page."""
    from agent.__main__ import cli as agent_cli
    from ci_bot.cli.main import cli as bot_cli

    parts = [HEAD, *_render_program("lockgate", bot_cli)]
    return "\n".join([*parts, *_render_program("lockgate-agent", agent_cli)])


def _render_program(name: str, group: click.Group) -> list[str]:
    context = click.Context(group, info_name=name, terminal_width=100, max_content_width=100)
    sections = []
    for command_name in group.list_commands(context):
        command = group.get_command(context, command_name)
        assert command is not None
        inner = click.Context(
            command,
            info_name=command_name,
            parent=context,
            terminal_width=100,
            max_content_width=100,
        )
        text = command.get_help(inner)
        sections.append(f"## {name} {command_name}\n\n```text\n{text}\n```\n")
    return sections


def main() -> int:
    REFERENCE.write_text(render(), encoding="utf-8")
    print(REFERENCE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
