"""A unified diff as rows of a table: numbers, side by side in one column, the changed part of a line marked."""

import re
from dataclasses import dataclass

from sandbox.forge.repository import FileDiff

_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line. `kind` is hunk, same, added or removed; `parts` are (text, changed)."""

    kind: str
    old: int | None = None
    new: int | None = None
    parts: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileView:
    path: str
    old_path: str
    note: str
    added: int
    removed: int
    rows: tuple[Row, ...]


def file_view(file: FileDiff) -> FileView:
    rows = _rows(file.text)
    notes = {"A": "new", "D": "deleted", "R": f"renamed from {file.old_path}"}
    return FileView(
        path=file.new_path,
        old_path=file.old_path,
        note=notes.get(file.status, ""),
        added=sum(row.kind == "added" for row in rows),
        removed=sum(row.kind == "removed" for row in rows),
        rows=tuple(rows),
    )


def _rows(text: str) -> list[Row]:
    rows: list[Row] = []
    removed: list[str] = []
    added: list[str] = []
    old = new = 0
    for line in text.splitlines():
        mark, content = line[:1], line[1:]
        if mark == "-":
            removed.append(content)
        elif mark == "+":
            added.append(content)
        else:
            rows += _changed(removed, added, old, new)
            old, new = old + len(removed), new + len(added)
            removed, added = [], []
            if hunk := _HUNK.match(line):
                old, new = int(hunk[1]), int(hunk[2])
                rows.append(Row(kind="hunk", parts=((line, False),)))
            elif mark == " ":
                rows.append(Row(kind="same", old=old, new=new, parts=((content, False),)))
                old, new = old + 1, new + 1
            elif line:
                rows.append(Row(kind="hunk", parts=((line.lstrip("\\ "), False),)))
    return rows + _changed(removed, added, old, new)


def _changed(removed: list[str], added: list[str], old: int, new: int) -> list[Row]:
    """Lines that were replaced; where they pair up, only what differs is marked."""
    paired = len(removed) == len(added)
    rows = []
    for position, line in enumerate(removed):
        parts = _marked(line, added[position]) if paired else ((line, False),)
        rows.append(Row(kind="removed", old=old + position, parts=parts))
    for position, line in enumerate(added):
        parts = _marked(line, removed[position]) if paired else ((line, False),)
        rows.append(Row(kind="added", new=new + position, parts=parts))
    return rows


def _marked(line: str, other: str) -> tuple[tuple[str, bool], ...]:
    shortest = min(len(line), len(other))
    start = next((i for i in range(shortest) if line[i] != other[i]), shortest)
    end = 0
    while end < shortest - start and line[-1 - end] == other[-1 - end]:
        end += 1
    stop = len(line) - end
    parts = ((line[:start], False), (line[start:stop], True), (line[stop:], False))
    return tuple(part for part in parts if part[0])
