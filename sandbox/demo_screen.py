"""The demo on a terminal: a heading a step, short lines, what is awaited with its seconds, a table at the end."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.status import Status
from rich.table import Table

from sandbox.processes import SandboxError

T = TypeVar("T")
POLL_S = 0.1
DEADLINE_S = 30.0
# In a log nothing says how wide the reader's window is; tables are readable from here on.
LOG_WIDTH = 120


class NotYet(Exception):  # noqa: N818 - not an error: the next look may see it
    """What is awaited is not there; the text says what is there instead."""


class StepFailed(SandboxError):  # noqa: N818 - read as a sentence where it is caught
    """A step of the story did not come true: what was expected, and what was seen instead."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected: {expected}\nseen: {seen}")


class Screen:
    """Where the story is told."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = max(LOG_WIDTH, self.console.width)
        self.step = "start"

    def heading(self, number: int, title: str) -> None:
        self.step = f"step {number} ({title})"
        self.console.print(f"\n[bold cyan]{number}  {title}[/]")

    def say(self, text: str) -> None:
        self.console.print(f"   {text}", markup=False, soft_wrap=True)

    def command(self, text: str) -> None:
        self.console.print(f"   $ {text}", style="dim", markup=False, soft_wrap=True)

    def done(self, text: str, seconds: float | None = None) -> None:
        took = "" if seconds is None else f"  [dim]{seconds:.1f} s[/]"
        self.console.print(f"   [green]✓[/] {_plain(text)}{took}", soft_wrap=True)

    @contextmanager
    def working(self, what: str, result: str) -> Iterator[None]:
        """Show that something is under way whose progress cannot be asked for; then its result and seconds."""
        begun = time.monotonic()
        with self._status(what):
            yield
        self.done(result, time.monotonic() - begun)

    def awaits(self, what: str, check: Callable[[], T], deadline_s: float = 0) -> T:
        """Look until `check` no longer raises NotYet; show what is awaited, and how long it took."""
        begun = time.monotonic()
        deadline_s = deadline_s or DEADLINE_S
        with self._status(what) as status:
            while True:
                seconds = time.monotonic() - begun
                try:
                    found = check()
                    break
                except NotYet as unseen:
                    if seconds > deadline_s:
                        raise StepFailed(f"{what}, in {deadline_s:.0f} s", str(unseen)) from unseen
                if status is not None:
                    status.update(f"   {_plain(what)} … {seconds:.0f} s")
                time.sleep(POLL_S)
        self.done(what, time.monotonic() - begun)
        return found

    def _status(self, what: str) -> AbstractContextManager[Status | None]:
        if not self.console.is_terminal:
            return nullcontext()
        return self.console.status(f"   {_plain(what)} …")

    def times(self, rows: Mapping[str, Sequence[float]]) -> None:
        """The closing table: one row a span, one column a time it was measured."""
        table = Table(
            title="How long it took", title_justify="left", box=None, padding=(0, 3, 0, 0)
        )
        table.add_column("from → to")
        table.add_column("seconds", justify="right")
        for name, seconds in rows.items():
            table.add_row(name, "  ".join(f"{value:.3f}" for value in seconds))
        self.console.print()
        self.console.print(table)

    def comment(self, title: str, body: str) -> None:
        """A comment as the merge request shows it: no hidden marker, no tags."""
        visible = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
        visible = re.sub(r"</?details>", "", visible)
        visible = re.sub(r"<summary>(.*?)</summary>", r"**\1**", visible)
        self.console.print()
        self.console.print(Panel(Markdown(visible), title=title, title_align="left"))

    def failed(self, error: Exception, logs: str) -> None:
        self.console.print(f"\n[bold red]{_plain(self.step)} failed[/]")
        self.console.print(str(error), markup=False, soft_wrap=True)
        self.console.print(f"logs: {logs}", markup=False, soft_wrap=True)


def _plain(text: str) -> str:
    """Text in which a bracket is a bracket."""
    return text.replace("[", r"\[")
