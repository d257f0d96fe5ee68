"""Which adapter speaks to which forge. The adapter is imported when it is opened: its library costs 100 ms."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ci_bot.errors import UsageError
from ci_bot.forges.port import Forge


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeSettings:
    """How to reach one project of one forge; read by the composition roots, never here."""

    kind: str = "gitlab"
    url: str  # https://gitlab.example/sub/path, with or without /api/v4
    project: str  # group/config, or the forge's own id
    token: str = field(repr=False)
    ca_file: str = ""
    timeout_s: float = (
        20.0  # to connect, and between two bytes; a whole exchange may take three times as long
    )
    own_ids: tuple[
        str, ...
    ] = ()  # ids under which we wrote before (a rotated project token is a new user)


def _open_gitlab(settings: ForgeSettings) -> Forge:
    from ci_bot.forges.gitlab import GitLabForge  # noqa: PLC0415 - costs 100 ms, only when needed

    return GitLabForge.open(settings)


_ADAPTERS: dict[str, Callable[[ForgeSettings], Forge]] = {"gitlab": _open_gitlab}


def open_forge(settings: ForgeSettings) -> Forge:
    """Return the adapter for `settings.kind`; nothing is sent yet."""
    try:
        adapter = _ADAPTERS[settings.kind]
    except KeyError:
        known = ", ".join(sorted(_ADAPTERS))
        raise UsageError(f"unknown forge {settings.kind!r}", hint=f"Use one of: {known}.") from None
    return adapter(settings)
