"""A bump of one file: only the bytes of the scalar that holds the tag change.

The file is searched as text first; only documents that can name the image are parsed. Each edit is a splice into
the original text, and the edited document is parsed again: every scalar but the wanted ones must read as before,
and the wanted ones must read as wanted, or nothing is written.
"""

import re
from dataclasses import dataclass, field

from ci_bot.core.documents import (
    MAX_BYTES,
    NotYamlError,
    Parse,
    Scalar,
    document_bounds,
    line_of,
    list_values,
    parse_chunk,
)
from ci_bot.core.images import ImageName, is_tag, split_reference
from ci_bot.core.places import Finder, Place, iter_mentions
from ci_bot.core.scalars import spell
from ci_bot.errors import ManifestError, UsageError

_BOM = "\ufeff"
_BOUNDARY = r"[\"' \r\n\t,}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a bump asks for."""

    image: ImageName
    tag: str
    digest: str = ""
    drop_digest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    file: str
    line: int
    before: str
    after: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A place that names the image and is left for a person."""

    file: str
    line: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBump:
    """What a bump does to one file; `data` is the old content where there is no edit."""

    data: bytes
    edits: tuple[Edit, ...] = ()
    left: tuple[Left, ...] = ()
    current: tuple[Left, ...] = ()  # places that already say what is wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Splice:
    scalar: Scalar
    start: int
    end: int
    text: str
    value: str  # what the scalar reads as afterwards
    before: str
    kind: str


@dataclass(slots=True, eq=False)
class _Plan:
    file: str
    text: str
    wanted: Wanted
    splices: list[_Splice] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    current: list[Left] = field(default_factory=list)

    def at(self, position: int) -> str:
        return f"{self.file}:{line_of(self.text, position)}"

    def leave(self, position: int, why: str) -> None:
        self.left.append(Left(file=self.file, line=line_of(self.text, position), why=why))


def may_mention(image: ImageName, data: bytes) -> bool:
    """Return whether a file can name the image at all; a file that cannot is not even decoded."""
    return image.short.rpartition("/")[2].encode() in data


def bump_file(file: str, data: bytes, wanted: Wanted) -> FileBump:
    """Return the file with the wanted tag at every place that names the image.

    Raises `ManifestError` (file:line) for what cannot be read safely and `UsageError` where a pinned digest
    would go on deploying the old image.
    """
    if len(data) > MAX_BYTES:
        why = f"{len(data)} bytes, more than {MAX_BYTES}; not read"
        return FileBump(data=data, left=(Left(file=file, line=1, why=why),))
    if not may_mention(wanted.image, data) and data[:2] not in {b"\xff\xfe", b"\xfe\xff"}:
        return FileBump(data=data)
    text = _decode(file, data, wanted.image)
    bom = text.startswith(_BOM)
    plan = _Plan(file=file, text=text[1:] if bom else text, wanted=wanted)
    edited = _bump_text(plan)
    if not plan.splices:
        return FileBump(data=data, left=tuple(plan.left), current=tuple(plan.current))
    return FileBump(
        data=((_BOM if bom else "") + edited).encode(),
        edits=tuple(
            Edit(
                file=file,
                line=line_of(plan.text, splice.start),
                before=splice.before,
                after=splice.value,
                kind=splice.kind,
            )
            for splice in plan.splices
        ),
        left=tuple(plan.left),
        current=tuple(plan.current),
    )


def _decode(file: str, data: bytes, image: ImageName) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as err:
        if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
            wide = data.decode("utf-16", "replace")
            if image.short not in wide:
                return ""
            raise ManifestError(f"{file}:1: UTF-16; save it as UTF-8") from err
        line = data.count(b"\n", 0, err.start) + 1
        raise ManifestError(f"{file}:{line}: not UTF-8; save it as UTF-8") from err


def _bump_text(plan: _Plan) -> str:
    pieces: list[str] = []
    done = 0
    for start, end in _chunks(plan.text, plan.wanted.image):
        try:
            parse = parse_chunk(plan.file, plan.text, start, end)
        except NotYamlError as err:
            _leave_text(plan, start, end, err)
            continue
        splices = _splices(plan, parse)
        if splices:
            chunk = _apply(plan, parse, splices)
            pieces += [plan.text[done:start], chunk]
            done = end
            plan.splices += splices
    return "".join([*pieces, plan.text[done:]])


def _leave_text(plan: _Plan, start: int, end: int, err: NotYamlError) -> None:
    chunk = plan.text[start:end]
    what = "a template, not YAML" if "{{" in chunk else f"not YAML ({err.problem})"
    for position in iter_mentions(plan.wanted.image, chunk):
        plan.leave(start + position, f"{what}; edit it by hand")


def _chunks(text: str, image: ImageName) -> list[tuple[int, int]]:
    """Return the bounds of the documents that can name the image, in order."""
    found: dict[tuple[int, int], None] = {}
    for needle, prefix in _needles(image):
        if prefix and not _stands_alone(text, prefix):
            continue
        at = text.find(needle)
        while at >= 0:
            step = at + len(needle)
            if not _continues(text[at - 1 : at], ".-_") and not _continues(
                text[step : step + 1], "/-_"
            ):
                bounds = document_bounds(text, at)
                if not prefix or prefix in text[bounds[0] : bounds[1]]:
                    found[bounds] = None
                step = max(step, bounds[1])
            at = text.find(needle, step)
    return sorted(found)


def _continues(char: str, also: str) -> bool:
    return char.isalnum() or (char != "" and char in also)


def _needles(image: ImageName) -> list[tuple[str, str]]:
    """Return (text, text that must stand elsewhere in the document): a name may be split over two keys."""
    parts = image.short.split("/") if image.on_hub else [image.registry, *image.path.split("/")]
    splits = [("/".join(parts[at:]), "/".join(parts[:at])) for at in range(1, len(parts))]
    if image.on_hub:
        splits += [(image.short, "")]
    return [("/".join(parts), ""), *splits]


def _stands_alone(text: str, prefix: str) -> bool:
    """Return whether `prefix` is somewhere the end of a scalar: a registry of its own, or with its slash."""
    return (
        re.search(rf"{re.escape(prefix)}(?:[/#]?(?:{_BOUNDARY}|\Z)|{_BOUNDARY}\Z)", text)
        is not None
    )


def _splices(plan: _Plan, parse: Parse) -> list[_Splice]:
    finder = Finder(image=plan.wanted.image, file=plan.file)
    for root in parse.roots:
        finder.search(root)
    splices: dict[int, _Splice] = {}
    for place in finder.places:
        for splice in _edit_place(plan, place):
            splices[splice.start] = splice
    for mention in finder.mentions:
        plan.leave(mention.position, mention.why)
    return [splices[start] for start in sorted(splices)]


def _edit_place(plan: _Plan, place: Place) -> list[_Splice]:
    wanted = _whole(plan, place) if place.whole is not None else _split(plan, place)
    changed = [(scalar, value) for scalar, value in wanted if scalar.value != value]
    point = place.whole or place.tag or place.digest or place.anchor
    if wanted and not changed and point is not None:
        line = line_of(plan.text, point.start)
        plan.current.append(Left(file=plan.file, line=line, why="already there"))
    if changed:
        _refuse_shared(plan, place)
    spliced = [(_splice(plan, place, scalar, value), scalar) for scalar, value in changed]
    for splice, scalar in spliced:
        if splice is None:
            plan.leave(scalar.start, _spelling_why(scalar))
    return [] if any(s is None for s, _ in spliced) else [s for s, _ in spliced if s is not None]


def _spelling_why(scalar: Scalar) -> str:
    if scalar.style in {"|", ">"}:
        return "inside a block scalar; edit it by hand"
    return "spelt with escapes or over several lines; edit it by hand"


def _refuse_shared(plan: _Plan, place: Place) -> None:
    if place.shared is None:
        return
    lines = sorted({line_of(plan.text, at) for at in place.shared.consumers})
    raise ManifestError(
        f"{plan.at(place.shared.start)}: the image stands under the anchor "
        f"&{place.shared.anchor}, which is also used on line {', '.join(map(str, lines))}; "
        "an edit would change all of them",
        hint="write the image out where it differs, or edit the anchor by hand",
    )


def _whole(plan: _Plan, place: Place) -> list[tuple[Scalar, str]]:
    scalar = place.whole
    if scalar is None:
        return []
    there = split_reference(scalar.value)
    if there.tag and not is_tag(there.tag):
        plan.leave(scalar.start, f"the tag {there.tag[:60]!r} is a template; edit it by hand")
        return []
    digest = _digest(plan, scalar.start, there.digest)
    return [(scalar, _join(f"{there.name}:{plan.wanted.tag}", digest))]


def _join(text: str, digest: str) -> str:
    return f"{text}@{digest}" if digest else text


def _digest(plan: _Plan, position: int, pinned: str) -> str:
    """Return the digest to write; D19: a tag beside an old digest would deploy the old image."""
    if pinned and not plan.wanted.digest and not plan.wanted.drop_digest:
        raise UsageError(
            f"{plan.at(position)}: pins {pinned[:80]}; with --tag alone the old image would stay deployed",
            hint="give --digest sha256:… of the new image, or --drop-digest to follow the tag",
        )
    return plan.wanted.digest


def _split(plan: _Plan, place: Place) -> list[tuple[Scalar, str]]:
    tag, digest, wanted = place.tag, place.digest, plan.wanted
    inline = tag is not None and "@" in tag.value
    point = tag or digest or place.anchor
    if point is None or (tag is None and digest is None):
        plan.leave(point.start if point else 0, "names the image without a tag; add one by hand")
        return []
    if tag is not None and any(mark in tag.value for mark in ("{", "$")):
        plan.leave(tag.start, f"the tag {tag.value[:60]!r} is a template; edit it by hand")
        return []
    result: list[tuple[Scalar, str]] = []
    pinned = tag.value.partition("@")[2] if tag is not None and inline else ""
    if digest is not None and digest.value not in {"", "null", "~"}:
        pinned = digest.value
    new = _digest(plan, point.start, pinned)
    if tag is not None:
        result.append((tag, _join(wanted.tag, new) if inline else wanted.tag))
    if digest is not None and (new or pinned):
        result.append((digest, new))
    if new and digest is None and not inline:
        raise UsageError(
            f"{plan.at(point.start)}: there is no place for a digest",
            hint='add `digest: ""` beside the tag once, or bump without --digest',
        )
    if tag is None and not new:
        raise UsageError(
            f"{plan.at(point.start)}: only a digest stands here, so --drop-digest would leave no version",
            hint="add a tag by hand once, or give --digest",
        )
    return result


def _splice(plan: _Plan, place: Place, scalar: Scalar, value: str) -> _Splice | None:
    """Return the change of the bytes that differ, or None where the spelling cannot be spliced."""
    style, old = scalar.style, scalar.value
    quoted = style in {"'", '"'}
    token = f"{style}{old}{style}" if quoted else old
    start = scalar.end - len(token)
    if style in {"|", ">"} or start < scalar.start or plan.text[start : scalar.end] != token:
        return None
    text = spell(value, style)
    if not value:
        text = f"{style}{style}" if quoted else '""'
    if not token:  # `tag:` with nothing behind it
        text = f" {text}" if plan.text[start - 1 : start] == ":" else text
    kept = 0
    name = split_reference(old).name if place.whole is not None else ""
    if name and text.startswith(token[: len(style) + len(name)]) and text != f'"{value}"':
        kept = len(style) + len(name)  # only what follows the name is replaced
    tail = len(style) if kept and quoted else 0
    return _Splice(
        scalar=scalar,
        start=start + kept,
        end=scalar.end - tail,
        text=text[kept : len(text) - tail],
        value=value,
        before=old,
        kind=place.kind,
    )


def _apply(plan: _Plan, parse: Parse, splices: list[_Splice]) -> str:
    pieces: list[str] = []
    done = parse.start
    for splice in splices:
        pieces += [plan.text[done : splice.start], splice.text]
        done = splice.end
    chunk = "".join([*pieces, plan.text[done : parse.end]])
    wanted = [scalar.value for scalar in parse.scalars]
    for splice in splices:
        wanted[splice.scalar.order] = splice.value
    if list_values(chunk) != wanted:
        raise ManifestError(
            f"{plan.at(splices[0].start)}: the edited document would not read as intended",
            hint="edit this file by hand and report it with the lines around the image",
        )
    return chunk
