"""What a bump says: the commit, the merge request's title and body, and what to do about what is already there.

The merge request's text is computed from the commit message alone, so that after a race or a crash any bot can
make the merge request say what its branch holds.
"""

from collections.abc import Sequence

from ci_bot.core.branches import Origin, Trailers, find_trailers
from ci_bot.core.edits import Edit, Left
from ci_bot.core.facts import Draft
from ci_bot.core.markdown import code

_MOST_LINES = 100
_TITLE = 72


def commit_message(
    trailers: Trailers,
    edits: Sequence[Edit],
    left: Sequence[Left],
    origin: Origin,
) -> str:
    """Return subject, body and trailers of a bump's commit."""
    service = trailers.image.rpartition("/")[2]
    scope = trailers.target.partition("/")[0]
    subject = f"Bump {service} to {trailers.tag} in {scope}"
    lines = [f"{e.file}:{e.line} {e.before or '(empty)'} -> {e.after or '(empty)'}" for e in edits]
    parts = [subject, "\n".join(_capped(lines))]
    if left:
        parts.append(
            "Left as it is:\n" + "\n".join(_capped([f"{x.file}:{x.line} {x.why}" for x in left]))
        )
    if origin.url:
        parts.append(f"Pipeline: {origin.url}")
    return "\n\n".join([*parts, trailers.lines()]) + "\n"


def _capped(lines: list[str]) -> list[str]:
    clean = ["".join(char if char.isprintable() else "?" for char in line) for line in lines]
    more = len(clean) - _MOST_LINES
    return [*clean[:_MOST_LINES], f"... and {more} more"] if more > 0 else clean


def draft_of(message: str, *, source_branch: str, target_branch: str) -> Draft:
    """Return the merge request that belongs to a bump's commit."""
    subject, _, rest = message.partition("\n")
    trailers = find_trailers(message)
    body = rest.strip()
    if trailers is not None:
        body = body.replace(trailers.lines(), "").strip()
    changes, *others = body.split("\n\n")
    name = trailers.image if trailers else ""
    parts = [
        f"{code(name)} → {code(trailers.tag)} in {code(trailers.target)}" if trailers else "",
        _items("Changes", changes.splitlines()),
    ]
    for other in others:
        head, _, tail = other.partition("\n")
        if head == "Left as it is:":
            parts.append(_items("Left as it is, for a person to judge", tail.splitlines()))
        elif head.startswith("Pipeline: "):
            parts.append(f"Built by {code(trailers.source) if trailers else ''}: {_link(head)}")
    if trailers is not None:
        parts.append(f"<!-- lockgate\n{trailers.lines()}\n-->")
    return Draft(
        source_branch=source_branch,
        target_branch=target_branch,
        title=subject[: _TITLE * 3],
        body="\n\n".join(part for part in parts if part) + "\n",
        labels=("lockgate",),
    )


def _items(title: str, lines: list[str]) -> str:
    return f"**{title}**\n\n" + "\n".join(f"- {code(line)}" for line in lines) if lines else ""


def _link(line: str) -> str:
    url = line.removeprefix("Pipeline: ")
    safe = url.startswith(("https://", "http://")) and not any(c in url for c in " <>()[]\"'`")
    return f"<{url}>" if safe else code(url)


def older_than(mine: Origin, theirs: Trailers | None) -> bool:
    """Return whether a bump of a later pipeline of the same source is already there."""
    return (
        theirs is not None
        and mine.pipeline is not None
        and theirs.pipeline is not None
        and mine.source != ""
        and mine.source == theirs.source
        and mine.pipeline < theirs.pipeline
    )
