"""The checker of the canary test can fail: whatever is planted, in whatever spelling, it finds."""

import base64
import gzip
import json
import secrets
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.canary import find_leaks

CANARY = f'c/n+r&y "é"{secrets.token_urlsafe(24)}'

WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda b: b,
    "base64": base64.b64encode,
    "base64, url-safe": base64.urlsafe_b64encode,
    "base64, inside something longer": lambda b: base64.b64encode(b"user:" + b + b"@host"),
    "base64, one byte further": lambda b: base64.b64encode(b"user: " + b + b"@host"),
    "base64, two bytes further": lambda b: base64.b64encode(b"user:  " + b + b"@host"),
    "hex": lambda b: b.hex().encode(),
    "hex, upper case": lambda b: b.hex().upper().encode(),
    "url": lambda b: quote(b, safe="").encode(),
    "json": lambda b: json.dumps({"x": b.decode()}).encode(),
    "json, not only ascii": lambda b: json.dumps({"x": b.decode()}, ensure_ascii=False).encode(),
    "gzip": gzip.compress,
    "gzip of base64": lambda b: gzip.compress(base64.b64encode(b)),
    "gzip of gzip": lambda b: gzip.compress(gzip.compress(b)),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_planted_secret_is_found(how: str):
    planted = b"before \x00\xff " + WRITTEN[how](CANARY.encode()) + b" after"
    assert {name for name, _ in find_leaks(planted, {"canary": CANARY.encode()})} == {"canary"}


def test_what_holds_no_secret_is_clean():
    """Also where it begins like gzip and is none, and where another secret is in it."""
    innocent = b"\x1f\x8b\x08 nothing " + base64.b64encode(b"another secret of the same kind")
    assert find_leaks(innocent, {"canary": CANARY.encode()}) == set()
