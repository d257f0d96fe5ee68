"""The scrubber: no Secret's value leaves the cluster in free text (I6, S1).

It is fed with the live values of the Secrets in scope and knows each in the spellings an error message may quote it
in. Patterns catch what is a credential by its looks alone. Structured codes come first everywhere; this is the net
below them.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus

from agent.core.normalise import decode_secret_value
from agent.core.objects import Manifest

MASK = "[redacted]"
# Shorter values ("true", "1", "prod") would tear holes into every message and protect nothing.
_MIN_LENGTH = 6
_MAX_TEXT = 64 * 1024

_PATTERNS = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        # userinfo in a URL
        (r"(?<=://)[^\s/@'\"]{1,512}(?=@)", 0),
        (r"(?<=\bbearer )[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE),
        (r"(?<=\bbasic )[A-Za-z0-9+/=]{8,}", re.IGNORECASE),
        # tokens of GitLab, GitHub, AWS, Slack, npm
        (r"\bgl(?:pat|ptt|dt|rt|cbt|ft|agent|soat|oas|imt)-[A-Za-z0-9_.-]{8,}", 0),
        (r"\bgh[pousr]_[A-Za-z0-9]{16,}", 0),
        (r"\bgithub_pat_[A-Za-z0-9_]{16,}", 0),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", 0),
        (r"\bxox[abeoprs]-[A-Za-z0-9-]{8,}", 0),
        (r"\bnpm_[A-Za-z0-9]{20,}", 0),
        # JSON web tokens, which service account tokens are
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", 0),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", 0),
        (
            r"(?<=password=)[^\s&;,'\"]+|(?<=passwd=)[^\s&;,'\"]+|(?<=token=)[^\s&;,'\"]+|(?<=secret=)[^\s&;,'\"]+",
            re.IGNORECASE,
        ),
    )
)


class Scrubber:
    """Replaces known secret values and credential-shaped text. Immutable; make a new one when Secrets change."""

    __slots__ = ("_known",)

    def __init__(self, values: Iterable[bytes] = ()) -> None:
        spellings = {text for value in values for text in _spellings(value)}
        # The longest first, so that a value inside another one does not leave its rest behind.
        ordered = sorted(spellings, key=lambda text: (-len(text), text))
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    @classmethod
    def of_secrets(cls, secrets: Iterable[Manifest]) -> "Scrubber":
        """Make a scrubber of live Secrets."""
        return cls(value for secret in secrets for value in secret_values(secret))

    def scrub(self, text: str) -> str:
        """Return the text without known values and credential-shaped parts."""
        clean = text
        if self._known is not None:
            clean = self._known.sub(MASK, clean)
        for pattern in _PATTERNS:
            clean = pattern.sub(MASK, clean)
        return clean[:_MAX_TEXT]


def secret_values(secret: Manifest) -> Iterator[bytes]:
    """Yield the decoded values of a Secret, those of stringData and a dockerconfigjson's parts included."""
    for field in ("data", "stringData"):
        values = secret.get(field)
        for text in values.values() if isinstance(values, Mapping) else ():
            if field == "stringData" and isinstance(text, str):
                yield from _with_parts(text.encode())
            elif (raw := decode_secret_value(text)) is not None:
                yield from _with_parts(raw)


def _with_parts(raw: bytes) -> Iterator[bytes]:
    """Yield a value, its lines (a key file is quoted line by line), and the strings inside JSON."""
    yield raw
    stripped = raw.strip()
    yield stripped
    if b"\n" in stripped:
        yield from (line.strip() for line in stripped.splitlines())
    if stripped.startswith((b"{", b"[")):
        try:
            yield from _strings(json.loads(stripped))
        except (ValueError, RecursionError):
            return


def _strings(value: object) -> Iterator[bytes]:
    if isinstance(value, str):
        yield value.encode(errors="surrogatepass")
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _spellings(value: bytes) -> Iterator[str]:
    if len(value) < _MIN_LENGTH:
        return
    yield value.hex()
    yield value.hex().upper()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(value).decode()
        yield encoded
        yield encoded.rstrip("=")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    yield text
    yield quote(text, safe="")
    yield quote(text)
    yield quote_plus(text)
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield repr(text)[1:-1]
