"""One line an event: JSON, or colour on a terminal; secrets are taken out last, whoever put them in.

Code logs `log.info("application synced", application=…, revision=…)`: the event is a constant phrase, the rest is keys.
"""

import logging
import re
import sys
from collections.abc import Collection, MutableMapping
from typing import Any, TextIO

import structlog

_MASK = "***"
_KEYS = re.compile(
    r"passw|token|secret_value|authorization|credential_value|private_key", re.IGNORECASE
)
_SHAPES = re.compile(
    r"(?<=://)[^/@\s\"']+@"  # userinfo of an address
    r"|(?i:(?<=bearer )|(?<=basic ))[A-Za-z0-9+/._~=-]{8,}"
    r"|\bgl(?:pat|dt|rt|ptt|cbt)-[A-Za-z0-9_.-]{8,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{16,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
)
Event = MutableMapping[str, Any]


class Redaction:
    """A structlog processor that masks what looks like a credential, and every value it was told of."""

    def __init__(self) -> None:
        self._known: tuple[str, ...] = ()

    def know(self, values: Collection[str]) -> None:
        """Mask these exact values too (a credential's token, whatever it looks like)."""
        long_enough = {value for value in values if len(value) >= 6}
        self._known = tuple(sorted(long_enough | set(self._known), key=len, reverse=True))

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        return {key: self._clean(key, value) for key, value in event.items()}

    def _clean(self, key: str, value: object) -> object:
        if isinstance(value, bool | int | float) or value is None:
            return value
        if _KEYS.search(key):
            return _MASK
        if isinstance(value, dict):
            return {str(inner): self._clean(str(inner), each) for inner, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean(key, each) for each in value]
        return self.mask(value if isinstance(value, str) else str(value))

    def mask(self, text: str) -> str:
        """Return the text with every credential in it replaced."""
        for known in self._known:
            text = text.replace(known, _MASK)
        return _SHAPES.sub(_MASK, text)


def configure_logs(stream: TextIO | None = None, *, debug: bool = False) -> Redaction:
    """Set up structlog and the standard library's logging; returns the redaction to tell of secrets."""
    out = stream or sys.stderr
    redaction = Redaction()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if out.isatty() else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redaction,
            renderer,
        ],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("agent").setLevel(logging.DEBUG if debug else logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return redaction
