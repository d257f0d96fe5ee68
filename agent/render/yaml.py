"""Reading YAML as kubectl reads it, from hostile hands.

libyaml's parser gives events; the values are built here, so that every guard acts before anything is built: size and
number of documents, depth, what aliases and merge keys would expand to, duplicate keys, tags. Every failure is a
`RenderError` that starts with `file:line:`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from agent.errors import RenderError
from agent.render.scalars import TAG_PREFIX, resolve, resolve_key, resolve_tagged

_CORE_SCALARS = frozenset(f"{TAG_PREFIX}{kind}" for kind in ("null", "bool", "int", "float", "str"))
_TEXT_TAGS = frozenset({None, "!", f"{TAG_PREFIX}str"})
_MERGE_TAG = f"{TAG_PREFIX}merge"
_CORE_COLLECTIONS = frozenset({"!", f"{TAG_PREFIX}map", f"{TAG_PREFIX}seq"})
# Escapes that can make what JSON or the API server cannot carry.
_RISKY_ESCAPE = re.compile(rb"\\(?:0|x00|u|U)")
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlLimits:
    file_bytes: int = 10 * 1024 * 1024
    documents: int = 50_000
    depth: int = 512
    expanded_nodes: int = 100_000  # what aliases and merge keys may add to one document


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One mapping of a stream. `index` counts documents from 1, skipped ones included."""

    value: dict[str, Any]
    line: int
    index: int


DEFAULT_LIMITS = YamlLimits()


def load_yaml(data: bytes, path: str, limits: YamlLimits = DEFAULT_LIMITS) -> tuple[Document, ...]:
    """Return the mappings of a YAML stream; empty and null documents are skipped.

    Raises `RenderError` for everything else, its message starting with `path:line:`.
    """
    if len(data) > limits.file_bytes:
        raise RenderError(
            f"{path}:1: the file has {len(data)} bytes, more than {limits.file_bytes} allowed"
        )
    try:
        return tuple(_Loader(data, path, limits).documents())
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        line = mark.line + 1 if mark else 1
        raise RenderError(f"{path}:{line}: {err.problem or err.context}") from None
    except yaml.reader.ReaderError as err:
        line = data.count(b"\n", 0, err.position) + 1
        raise RenderError(
            f"{path}:{line}: not text YAML allows: {err.reason}",
            hint="save the file as UTF-8 without control characters",
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError, AttributeError) as err:
        raise RenderError(f"{path}:1: cannot be read as YAML: {type(err).__name__}") from None


@dataclass(slots=True)
class _Frame:
    """One open collection. `key` is None where a mapping waits for its next key, a merge key aside."""

    items: dict[str, Any] | list[Any]
    anchor: str | None
    key: str | None = None
    merging: bool = False
    size: int = 1
    key_lines: dict[str, int] = field(default_factory=dict)

    @property
    def wants_key(self) -> bool:
        return self.key is None and not self.merging and isinstance(self.items, dict)


class _Open:
    """The value of an anchor whose node is not finished: an alias to it would be a cycle."""


_OPEN = _Open()


class _Loader:
    def __init__(self, data: bytes, path: str, limits: YamlLimits) -> None:
        self._parser = CParser(data)
        self._path = path
        self._limits = limits
        self._risky = _RISKY_ESCAPE.search(data) is not None
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._expanded = 0

    def documents(self) -> Iterator[Document]:
        index = 0
        while True:
            event: Any = self._parser.get_event()
            if isinstance(event, StreamEndEvent):
                return
            if isinstance(event, DocumentStartEvent):
                index += 1
                if index > self._limits.documents:
                    raise self._error(event, f"more than {self._limits.documents} documents")
                self._anchors.clear()
                self._expanded = 0
                start, value = self._document()
                if value is None:
                    continue
                if not isinstance(value, dict):
                    what = "list" if isinstance(value, list) else "single value"
                    raise self._error(
                        start, f"document {index} is a {what}, not a Kubernetes object"
                    )
                yield Document(value=value, line=start.start_mark.line + 1, index=index)

    def _document(self) -> tuple[Any, Any]:
        """Return the root node's event and value, the whole document consumed."""
        get_event = self._parser.get_event
        event: Any = get_event()
        start = event
        root: Any = None
        while not isinstance(event, DocumentEndEvent):
            kind = type(event)
            if kind is ScalarEvent:
                root = self._scalar(event)
            elif kind is MappingStartEvent:
                self._open(event, {})
            elif kind is SequenceStartEvent:
                self._open(event, [])
            elif kind is AliasEvent:
                root = self._alias(event)
            else:  # the end of a mapping or list
                root = self._close(event)
            event = get_event()
        return start, root

    def _scalar(self, event: Any) -> Any:
        text = event.value
        if self._risky and _FORBIDDEN.search(text):
            raise self._error(event, "a character that no Kubernetes object can hold (NUL)")
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.wants_key:
            self._key(frame, event)
            return None
        value = self._value(event)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)
        self._add(frame, value, 1, event)
        return value

    def _value(self, event: Any) -> Any:
        tag = event.tag
        try:
            if tag is None:
                return resolve(event.value) if event.implicit[0] else event.value
            if tag == "!":
                return event.value
            if tag in _CORE_SCALARS:
                return resolve_tagged(event.value, tag)
        except ValueError as err:
            raise self._error(event, f"not a value JSON can hold: {err}") from None
        raise self._tag_error(event)

    def _key(self, frame: _Frame, event: Any) -> None:
        tag, text = event.tag, event.value
        if text == "<<" and (tag == _MERGE_TAG or (tag is None and event.implicit[0])):
            frame.merging = True
            return
        try:
            if tag is None and event.implicit[0]:
                key = resolve_key(text)
            elif tag in _TEXT_TAGS:
                key = text
            elif tag in _CORE_SCALARS:
                resolve_tagged(text, tag)
                key = resolve_key(text)
            else:
                raise self._tag_error(event)
        except ValueError as err:
            raise self._error(event, f"not a key JSON can hold: {err}") from None
        if event.anchor:
            self._anchors[event.anchor] = (self._value(event), 1)
        self._set_key(frame, key, event)

    def _set_key(self, frame: _Frame, key: str, event: Any) -> None:
        line = event.start_mark.line + 1
        first = frame.key_lines.get(key)
        if first is not None:
            raise self._error(event, f"key {key!r} is already set on line {first}")
        frame.key_lines[key] = line
        frame.key = key

    def _open(self, event: Any, items: dict[str, Any] | list[Any]) -> None:
        if event.tag is not None and event.tag not in _CORE_COLLECTIONS:
            raise self._tag_error(event)
        if len(self._stack) >= self._limits.depth:
            raise self._error(event, f"nested more than {self._limits.depth} deep")
        if self._stack and self._stack[-1].wants_key:
            raise self._error(event, "a mapping or list cannot be a key")
        if event.anchor:
            self._anchors[event.anchor] = (_OPEN, 0)
        self._stack.append(_Frame(items=items, anchor=event.anchor))

    def _close(self, event: Any) -> Any:
        frame = self._stack.pop()
        if frame.anchor:
            self._anchors[frame.anchor] = (frame.items, frame.size)
        self._add(self._stack[-1] if self._stack else None, frame.items, frame.size, event)
        return frame.items

    def _alias(self, event: Any) -> Any:
        found = self._anchors.get(event.anchor)
        if found is None:
            raise self._error(event, f"alias *{event.anchor} has no anchor before it")
        value, size = found
        if value is _OPEN:
            raise self._error(event, f"anchor &{event.anchor} contains itself")
        self._expand(size, event)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.wants_key:
            if not isinstance(value, str):
                raise self._error(event, f"alias *{event.anchor} is no text, so it cannot be a key")
            self._set_key(frame, value, event)
            return None
        self._add(frame, value, size, event)
        return value

    def _expand(self, size: int, event: Any) -> None:
        self._expanded += size
        if self._expanded > self._limits.expanded_nodes:
            raise self._error(
                event, f"aliases expand to more than {self._limits.expanded_nodes} nodes"
            )

    def _add(self, frame: _Frame | None, value: Any, size: int, event: Any) -> None:
        if frame is None:
            return
        frame.size += size
        if isinstance(frame.items, list):
            frame.items.append(value)
        elif frame.merging:
            frame.merging = False
            self._merge(frame, frame.items, value, event)
        else:
            frame.items[str(frame.key)] = value
            frame.key = None

    def _merge(self, frame: _Frame, items: dict[str, Any], value: Any, event: Any) -> None:
        """Merge in place, in order: like goyaml, a merge key overrides what stands before it."""
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise self._error(event, "<< takes a mapping or a list of mappings")
        for source in reversed(sources):
            self._expand(len(source), event)
            frame.size += len(source)
            items.update(source)

    def _tag_error(self, event: Any) -> RenderError:
        shown = event.tag.replace(TAG_PREFIX, "!!")
        return self._error(event, f"tag {shown} is not allowed")

    def _error(self, event: Any, message: str) -> RenderError:
        return RenderError(f"{self._path}:{event.start_mark.line + 1}: {message}")
