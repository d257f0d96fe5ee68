"""What a bump is asked for and what it answers, as values."""

from dataclasses import dataclass, field

from ci_bot.core.branches import Origin
from ci_bot.core.images import ImageName


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An edited (`before`, `after`, `kind`) or left (`why`) place, as the command prints it."""

    file: str
    line: int
    before: str = ""
    after: str = ""
    kind: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BumpRequest:
    image: ImageName
    tag: str
    digest: str = ""
    drop_digest: bool = False
    env: str = ""
    path: str = ""
    service: str = ""  # empty: from the image
    origin: Origin = field(default_factory=Origin)
    allow_downgrade: bool = False
    dry_run: bool = False
    email: str = ""  # of the commit; empty: the forge's own no-reply address
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequestLink:
    number: int
    url: str
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BumpResult:
    """`message` is the one sentence for a person; the rest is the JSON contract."""

    changed: bool = False
    held: bool = False
    branch: str = ""
    commit: str = ""
    target_branch: str = ""
    environment: str = ""
    path: str = ""
    merge_request: MergeRequestLink | None = None
    edits: tuple[Line, ...] = ()
    left: tuple[Line, ...] = ()
    message: str = ""
    diff: str = ""  # of a dry run
