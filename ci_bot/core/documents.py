"""YAML as a light tree with positions, guarded before anything is built.

The tree comes from the C parser's events, so no scalar is ever turned into a number or a date, no alias is copied
and no merge key is expanded: a bomb costs what its text costs. Depth, number of nodes and what the aliases would
expand to are budgeted while the events arrive; duplicate keys, control characters and a recursive alias are errors
that name their lines.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml.cyaml import CParser  # type: ignore[attr-defined] # no __all__ there
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from ci_bot.errors import ManifestError

MAX_BYTES = 10_000_000
MAX_DEPTH = 200
MAX_NODES = 400_000
MAX_EXPANSION = 100_000  # nodes that aliases would add if they were copied
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")
_FORBIDDEN_VALUE = re.compile("[\x00\ud800-\udfff]")


@dataclass(slots=True, eq=False)
class Node:
    """A scalar, a sequence or a mapping; positions are indexes into the whole text."""

    start: int
    end: int
    anchor: str | None = None
    consumers: list[int] = field(default_factory=list)  # where aliases of this node stand
    size: int = 1  # nodes below it, aliases counted as if copied


@dataclass(slots=True, eq=False)
class Scalar(Node):
    value: str = ""
    style: str = ""  # "" plain, ' or ", | or >
    order: int = 0  # n-th scalar of the chunk


@dataclass(slots=True, eq=False)
class Sequence(Node):
    items: list["Node | Alias"] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Mapping(Node):
    pairs: list[tuple["Node | Alias", "Node | Alias"]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Alias:
    start: int
    end: int
    target: Node


class NotYamlError(Exception):
    """The text does not parse. Not an error of ours yet: a template is left alone and reported."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(problem)
        self.position = position
        self.problem = problem


def line_of(text: str, position: int) -> int:
    """Return the 1-based line as an editor counts it."""
    newline = "\n" if "\n" in text else "\r"
    return text.count(newline, 0, position) + 1


@dataclass(slots=True, eq=False)
class Parse:
    """One chunk of a file, parsed; `scalars` keeps every scalar in order for the comparison after an edit."""

    file: str
    text: str
    start: int
    end: int
    roots: list[Node] = field(default_factory=list)
    scalars: list[Scalar] = field(default_factory=list)
    _anchors: dict[str, Node | None] = field(default_factory=dict)
    _nodes: int = 0
    _expansion: int = 0
    _frames: list[tuple[Node, list[Any]]] = field(default_factory=list)

    def run(self) -> "Parse":
        """Read all events of the chunk, or raise `NotYamlError` or `ManifestError`."""
        chunk = self.text[self.start : self.end]
        if bad := _CONTROL.search(chunk):
            self._refuse(
                self.start + bad.start(), f"control character U+{ord(bad.group()):04X}; remove it"
            )
        try:
            parser = CParser(chunk)
            takers = self._takers()
            while (kind := type(event := parser.get_event())) is not StreamEndEvent:
                if (take := takers.get(kind)) is not None:
                    take(event)
        except YAMLError as err:
            mark = getattr(err, "problem_mark", None) or getattr(err, "context_mark", None)
            index = min(getattr(mark, "index", 0) or 0, len(chunk))
            problem = getattr(err, "problem", None) or str(err).splitlines()[0]
            raise NotYamlError(self.start + index, str(problem)) from err
        except ValueError as err:  # a character no encoder takes: "\ud800", "\U00110000"
            raise ManifestError(
                f"{self.file}:{line_of(self.text, self.start)}: this document holds an escape that is "
                "no Unicode character; remove it"
            ) from err
        return self

    def _refuse(self, position: int, why: str) -> None:
        raise ManifestError(f"{self.file}:{line_of(self.text, position)}: {why}")

    def _takers(self) -> dict[type, Callable[[Any], None]]:
        """Return what to do with each kind of event; a table is quicker than a chain of tests."""
        return {
            ScalarEvent: self._scalar,
            MappingStartEvent: lambda event: self._open(Mapping(*self._place(event))),
            SequenceStartEvent: lambda event: self._open(Sequence(*self._place(event))),
            MappingEndEvent: self._close,
            SequenceEndEvent: self._close,
            AliasEvent: self._alias,
            DocumentStartEvent: lambda _: self._anchors.clear(),
        }

    def _place(self, event: Any) -> tuple[int, int, str | None]:
        return (
            self.start + event.start_mark.index,
            self.start + event.end_mark.index,
            event.anchor,
        )

    def _count(self, position: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(position, f"more than {MAX_NODES} nodes; split the file")

    def _scalar(self, event: Any) -> None:
        value, style = event.value, event.style or ""
        start, end, anchor = self._place(event)
        # Only an escape can bring one in: the text itself was looked through before.
        if style == '"' and _FORBIDDEN_VALUE.search(value):
            self._refuse(start, "a string holds NUL or half a surrogate pair; remove it")
        scalar = Scalar(start, end, anchor, [], 1, value, style, len(self.scalars))
        self._count(start)
        self.scalars.append(scalar)
        if anchor:
            self._anchors[anchor] = scalar
        self._add(scalar, 1)

    def _open(self, node: Node) -> None:
        self._count(node.start)
        if len(self._frames) >= MAX_DEPTH:
            self._refuse(node.start, f"nested deeper than {MAX_DEPTH} levels; flatten it")
        if node.anchor:
            self._anchors[node.anchor] = None  # known but open: an alias to it would be endless
        self._frames.append((node, []))

    def _close(self, event: Any) -> None:
        node, children = self._frames.pop()
        node.end = self.start + event.end_mark.index
        if isinstance(node, Mapping):
            node.pairs = list(zip(children[::2], children[1::2], strict=True))
            self._check_keys(node)
        elif isinstance(node, Sequence):
            node.items = children
        if node.anchor:
            self._anchors[node.anchor] = node
        self._add(node, node.size)

    def _alias(self, event: Any) -> None:
        start = self.start + event.start_mark.index
        if event.anchor not in self._anchors:
            self._refuse(start, f"alias *{event.anchor} has no anchor above it")
        target = self._anchors[event.anchor]
        if target is None:
            self._refuse(start, f"alias *{event.anchor} contains itself; remove it")
            return
        self._expansion += target.size
        if self._expansion > MAX_EXPANSION:
            self._refuse(start, f"excessive aliasing: aliases expand to over {MAX_EXPANSION} nodes")
        target.consumers.append(start)
        self._count(start)
        self._add(Alias(start, self.start + event.end_mark.index, target), target.size)

    def _add(self, node: Node | Alias, size: int) -> None:
        if not self._frames:
            if isinstance(node, Node):
                self.roots.append(node)
            return
        parent, children = self._frames[-1]
        children.append(node)
        parent.size += size

    def _check_keys(self, node: Mapping) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.pairs:
            if not isinstance(key, Scalar):
                continue
            if key.value in seen:
                first = line_of(self.text, seen[key.value])
                self._refuse(
                    key.start,
                    f"key {key.value[:60]!r} is already given on line {first}; "
                    "readers disagree which counts, remove one",
                )
            seen[key.value] = key.start


def parse_chunk(file: str, text: str, start: int, end: int) -> Parse:
    """Parse the documents between two positions of a file."""
    return Parse(file=file, text=text, start=start, end=end).run()


def list_values(text: str) -> list[str] | None:
    """Return the scalars of a text in order, or None where it does not parse: a check, with no tree built."""
    parser, values = CParser(text), []
    try:
        while (kind := type(event := parser.get_event())) is not StreamEndEvent:
            if kind is ScalarEvent:
                values.append(event.value)
    except (YAMLError, ValueError):
        return None
    return values


def document_bounds(text: str, position: int) -> tuple[int, int]:
    """Return where the document around a position begins and ends, without parsing.

    `---` and `...` at the start of a line end a document wherever they stand. A file with directives (`%TAG`)
    is taken whole, because a directive stands outside the document it is for.
    """
    if "%" in text and (text.startswith("%") or "\n%" in text):
        return 0, len(text)
    # The rarer marker is looked for only this side of the commoner one: the rest of a large file is not read for it.
    start = _marker_before(text, "\n---", (0, position))
    start = max(start, _marker_before(text, "\n...", (max(start, 0), position)))
    end = _marker_after(text, "\n---", (position, len(text)))
    end = min(end, _marker_after(text, "\n...", (position, end)))
    return start + 1 if start >= 0 else 0, end


def _is_marker(text: str, at: int) -> bool:
    return text[at + 4 : at + 5] in {"", " ", "\t", "\r", "\n"}


def _marker_before(text: str, marker: str, within: tuple[int, int]) -> int:
    first, position = within
    at = text.rfind(marker, first, position)
    while at >= 0 and not _is_marker(text, at):
        at = text.rfind(marker, first, at)
    if at >= 0 and marker == "\n...":  # the next document starts after this line
        line_end = text.find("\n", at + 1)
        return line_end if line_end >= 0 else len(text)
    return at


def _marker_after(text: str, marker: str, within: tuple[int, int]) -> int:
    position, last = within
    at = text.find(marker, position, last)
    while at >= 0 and not _is_marker(text, at):
        at = text.find(marker, at + 1, last)
    return at + 1 if at >= 0 else last


def fields_of(node: Mapping) -> Iterator[tuple[str, Node, Node | None]]:
    """Yield (key, value, the anchored node it was reached through or None), merge keys resolved."""
    own: set[str] = set()
    merges: list[Node | Alias] = []
    for key, value in node.pairs:
        if not isinstance(key, Scalar):
            continue
        if key.value == "<<" and not key.style:
            merges.append(value)
            continue
        own.add(key.value)
        target = value.target if isinstance(value, Alias) else value
        yield key.value, target, target if isinstance(value, Alias) else None
    for merged in merges:
        for key_text, value, shared in _merged(merged):
            if key_text not in own:
                own.add(key_text)
                yield key_text, value, shared


def _merged(source: Node | Alias) -> Iterator[tuple[str, Node, Node | None]]:
    target = source.target if isinstance(source, Alias) else source
    via = target if isinstance(source, Alias) else None
    if isinstance(target, Sequence):
        for item in target.items:
            yield from _merged(item)
    elif isinstance(target, Mapping):
        for key, value, shared in fields_of(target):
            yield key, value, shared or via
