"""A benchmark's rows, and how they are shown."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

LOG_WIDTH = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `met` is None where nothing was to be reached."""

    what: str
    measured: str
    peer: str = ""
    reach: str = ""
    met: bool | None = None


def show(name: str, rows: Sequence[Row]) -> None:
    table = Table(title=name, title_justify="left")
    for column in ("what", "measured", "peer in the same run", "to reach", ""):
        table.add_column(column, overflow="fold")
    for row in rows:
        mark = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[row.met]
        table.add_row(row.what, row.measured, row.peer, row.reach, mark)
    # A log has no width; rich would take 80 columns, and fold every cell.
    Console(width=None if sys.stdout.isatty() else LOG_WIDTH).print(table)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 10 else f"{seconds:.1f} s"
