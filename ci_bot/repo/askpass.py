"""How a password reaches git: through a pipe that can be read once.

Not argv and not the environment (`ps`, `/proc/*/environ` show them), not `.git/config`, not a file. git asks the
askpass program, and that program copies the pipe. On Windows, where a child inherits no pipe by number, it asks a
local listener that answers one client.
"""

import contextlib
import os
import secrets
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SCRIPT = '#!/bin/sh\nexec cat "/dev/fd/$LOCKGATE_ASKPASS_FD"\n'


@dataclass(frozen=True, slots=True)
class Asked:
    """What the git process must be started with."""

    environment: dict[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()


@contextlib.contextmanager
def answering(password: str, folder: Path) -> Iterator[Asked]:
    """Yield what makes git find `password`, once; without one git is told not to ask."""
    if not password:
        yield Asked({"GIT_ASKPASS": ""})
    elif os.name == "nt":
        with _listening(password, folder) as environment:
            yield Asked(environment)
    else:
        yield from _piping(password, folder)


def _piping(password: str, folder: Path) -> Iterator[Asked]:
    script = folder / "askpass"
    if not script.exists():
        script.write_text(_SCRIPT, encoding="ascii")
        script.chmod(0o700)
    reading, writing = os.pipe()
    try:
        os.write(writing, f"{password}\n".encode())
    finally:
        os.close(writing)
    try:
        yield Asked({"GIT_ASKPASS": str(script), "LOCKGATE_ASKPASS_FD": str(reading)}, (reading,))
    finally:
        os.close(reading)


@contextlib.contextmanager
def _listening(password: str, folder: Path) -> Iterator[dict[str, str]]:
    from multiprocessing.connection import Listener  # noqa: PLC0415 - 11 ms that only Windows pays

    key = secrets.token_bytes(32)
    with Listener(None, authkey=key) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError, EOFError), listener.accept() as client:
                client.send_bytes(password.encode())

        threading.Thread(target=answer, daemon=True).start()
        script = folder / "askpass.cmd"
        script.write_text(f'@"{sys.executable}" -m ci_bot.repo.askpass\n', encoding="ascii")
        # The key opens the one answer of a listener that is gone afterwards; it is not the password.
        yield {
            "GIT_ASKPASS": str(script),
            "LOCKGATE_ASKPASS_PIPE": str(listener.address),
            "LOCKGATE_ASKPASS_KEY": key.hex(),
        }


def ask(environment: dict[str, str]) -> str:
    """Fetch the password from the listener that started us."""
    from multiprocessing.connection import Client  # noqa: PLC0415 - see above

    key = bytes.fromhex(environment["LOCKGATE_ASKPASS_KEY"])
    with Client(environment["LOCKGATE_ASKPASS_PIPE"], authkey=key) as client:
        return client.recv_bytes().decode()


if __name__ == "__main__":
    sys.stdout.write(ask(dict(os.environ)) + "\n")
