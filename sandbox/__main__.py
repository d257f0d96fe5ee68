"""`python -m sandbox up | down | status | shell`: control plane, forge, hub and agent as a playground.

`up --files DIR` puts the files of DIR into the config repo; without it, the seed's example.
"""

import argparse
import contextlib
import functools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from sandbox.controlplane.binaries import ensure_binaries
from sandbox.keeper import Facts, Keeper
from sandbox.processes import SandboxError
from sandbox.stack import Stack, StackOptions

KEEPER = Keeper("sandbox", "playground")


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments)
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start the four parts in the background")
    run = commands.add_parser("run")  # what `up` leaves running
    for command in (up, run):
        command.add_argument("--files", type=Path, default=StackOptions().files, metavar="DIR")
    commands.add_parser("down", help="stop them and remove all their files")
    commands.add_parser("status", help="say what is up and how to reach it")
    commands.add_parser("shell", help="print the file that makes a shell act on the playground")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "up":
            if not arguments.files.is_dir():
                raise SandboxError(f"--files {arguments.files}: no such folder")
            ensure_binaries()  # here, where its progress can be seen
            _say(KEEPER.up("--files", str(arguments.files.resolve())))
        case "down":
            print("stopped" if KEEPER.down() else "it was not running")
        case "status" | "shell" if not KEEPER.running():
            print("no playground is up", file=sys.stderr)
            return 3
        case "shell":
            print(KEEPER.state / "data" / "shell.env")
        case "status":
            _say(KEEPER.facts())
        case _:
            return KEEPER.keep(functools.partial(_playground, files=arguments.files))
    return 0


def _say(facts: Facts) -> None:
    for name, value in facts.items():
        print(f"{name}: {value}")
    if not facts:
        print("starting")


@contextlib.contextmanager
def _playground(root: Path, files: Path) -> Iterator[Facts]:
    with Stack(root, StackOptions(files=files)) as stack:
        try:
            yield stack.facts()
        finally:
            # Only what came up is removed: the logs of a start that failed stay to be read.
            stack.stop()
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
