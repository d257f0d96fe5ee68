"""Logs of the hub: structlog on the standard library, JSON unless a person watches.

An event is a constant phrase in the past tense, data are keys. Values are cut, and what looks like a token or the user
part of an address is taken out here as a last line; nothing should carry one in the first place.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

LIMIT = 256
_SECRETS = (
    re.compile(r"(?<=://)[^/@\s]+@"),
    re.compile(r"\b(?:glpat|gldt|glptt|ghp|gho|ghs|ghu|github_pat)[-_][A-Za-z0-9_-]{8,}"),
    re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"),
)


def scrub(text: str) -> str:
    """Return `text` without credentials, at most `LIMIT` characters long."""
    text = _mask(text)
    return text if len(text) <= LIMIT else text[: LIMIT - 1] + "…"


def _mask(text: str) -> str:
    for pattern in _SECRETS:
        text = pattern.sub("***", text)
    return text


def _scrub_event(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            # A traceback is kept whole: it is for us, and its end is what matters.
            event[key] = _mask(value) if key == "exception" else scrub(value)
    return event


def configure(*, level: str = "INFO") -> None:
    """Set up logging of the whole process, once, at the start."""
    to_person = sys.stderr.isatty()
    shown: Any = (
        structlog.dev.ConsoleRenderer() if to_person else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _scrub_event,
            shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
