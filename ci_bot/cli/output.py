"""How a command speaks: the result on stdout (text, or JSON as a contract), everything else on stderr."""

import contextlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import click

from ci_bot.errors import FAILED, CiBotError

PATIENCE_S = 2.0


def emit(answer: Mapping[str, Any], text: str, output: str) -> None:
    """Print the result in the format that was asked for."""
    click.echo(json.dumps(answer, ensure_ascii=False) if output == "json" else text)


def note(text: str) -> None:
    """Say something on the way; never part of the result."""
    click.echo(text, err=True)


@contextlib.contextmanager
def patience(text: str) -> Iterator[None]:
    """Say what is going on if it takes longer than a person likes to stare at nothing."""
    timer = threading.Timer(PATIENCE_S, lambda: note(f"{text} …"))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def report_error(err: CiBotError, *, verbose: bool = False) -> int:
    """Print what is wrong and what to do about it; return the exit code."""
    reason = f" [{err.reason}]" if verbose else ""
    note(f"error: {err.message}{reason}")
    if err.hint:
        note(f"hint: {err.hint}")
    return err.exit_code


def report_unexpected(err: BaseException) -> int:
    """Print one line for a defect of ours; the traceback only where somebody asks for it."""
    if os.environ.get("LOCKGATE_DEBUG") == "1":
        traceback.print_exception(err)
    else:
        note(
            f"error: unexpected {type(err).__name__}; this is a defect of Lockgate. "
            "Run again with LOCKGATE_DEBUG=1 and report what it prints (check it for secrets)"
        )
    return FAILED


def is_terminal() -> bool:
    return sys.stdout.isatty()
