"""`python -m sandbox.controlplane fetch | up | down | status`: a Kubernetes control plane for playing and for tests."""

import argparse
import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from sandbox.controlplane.binaries import PROGRAMS, cache_folder, ensure_binaries, find_binaries
from sandbox.controlplane.plane import ControlPlane
from sandbox.keeper import Facts, Keeper
from sandbox.processes import SandboxError

KEEPER = Keeper("sandbox.controlplane", "controlplane")
HELP = {
    "fetch": "get the programs (cache, verified downloads, or go build)",
    "up": "start a control plane in the background and say how to reach it",
    "down": "stop it and remove its files",
    "status": "say what is there",
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.controlplane", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in HELP.items():
        commands.add_parser(name, help=text)
    commands.add_parser("run")  # what `up` leaves running
    try:
        return _run(parser.parse_args(argv).command)
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(command: str) -> int:
    match command:
        case "fetch":
            print(f"kubectl and the control plane: {ensure_binaries().kubectl.parent}")
        case "up":
            ensure_binaries()  # here, where its progress can be seen
            _say(KEEPER.up())
        case "down":
            print("stopped" if KEEPER.down() else "it was not running")
        case "status":
            return _status()
        case _:
            return KEEPER.keep(_plane)
    return 0


def _status() -> int:
    found = find_binaries()
    print(f"programs: {len(found)} of {len(PROGRAMS)}; cache: {cache_folder()}")
    if not KEEPER.running():
        print("no control plane is up")
        return 3
    _say(KEEPER.facts())
    return 0


def _say(facts: Facts) -> None:
    if not facts:
        print("starting")
        return
    print(f"control plane at {facts['server']}; logs in {facts['logs']}")
    print(f"export KUBECONFIG={facts['kubeconfig']}")


@contextlib.contextmanager
def _plane(root: Path) -> Iterator[Facts]:
    with ControlPlane(root) as plane:
        try:
            yield {
                "server": plane.server,
                "kubeconfig": str(plane.kubeconfig),
                "logs": str(root / "logs"),
            }
        finally:
            # Only what came up is removed: the logs of a start that failed stay to be read.
            plane.stop()
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
