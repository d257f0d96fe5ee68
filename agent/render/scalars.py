"""What a YAML scalar means to kubectl: goyaml v2's resolver followed by a trip through JSON.

`0400` is octal (256), `y` is true, `1e3` is 1000 and an integer, dates and `12:30:45` are strings, underscores in
numbers are dropped, and numbers that overflow are strings. tests/integration/test_yaml_parity.py holds this module to
the real kubectl.
"""

import re
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

Scalar = str | int | float | bool | None

TAG_PREFIX = "tag:yaml.org,2002:"

_TRUE = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
_FALSE = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")
_WORDS: Mapping[str, bool | None] = MappingProxyType(
    {
        **dict.fromkeys(_TRUE, True),
        **dict.fromkeys(_FALSE, False),
        **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    }
)
_NOT_FINITE = frozenset(
    f"{sign}{word}" for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")
) | {".nan", ".NaN", ".NAN"}
_NUMBER_START = frozenset("+-.0123456789")
# Behind a leading point goyaml leaves underscores to Go's parser: only between digits.
_DOT_FLOAT = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER = re.compile(
    r"[-+]?(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)|(?P<dec>0|[1-9][0-9]*))"
)
_SIGNED_BINARY = re.compile(r"0b([-+][01]+)")
_BASES = MappingProxyType({"hex": 16, "bin": 2, "oct": 8, "dec": 10})
_INT64 = 2**63
_UINT64 = 2**64
_MAX_DIGITS = 400  # longer ones overflow a float too


class NotANumberError(ValueError):
    """The value has no JSON form: infinity, or not a number."""


class WrongTagError(ValueError):
    """An explicit tag that the text cannot be read as."""


def resolve(text: str) -> Scalar:
    """Return what a plain scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return text
    if text in _NOT_FINITE:
        raise NotANumberError(text)
    number = _number(text)
    return text if number is None else as_json(number)


def resolve_key(text: str) -> str:
    """Return the JSON key of a plain scalar; raises `ValueError` for what cannot be one."""
    if text in _WORDS:
        word = _WORDS[text]
        if word is None:
            raise WrongTagError("null cannot be a key")
        return "true" if word else "false"
    if text[0] not in _NUMBER_START:
        return text
    if text in _NOT_FINITE:
        return text.lower().removeprefix("+")
    number = _number(text)
    if number is None:
        return text
    if isinstance(number, float):
        return _short_float(number)
    if number >= _INT64:
        raise WrongTagError(f"{text} is too large for a key")
    return str(number)


def resolve_tagged(text: str, tag: str) -> Scalar:
    """Return what a scalar with an explicit core tag means, quoted or not."""
    kind = tag.removeprefix(TAG_PREFIX)
    if kind == "str":
        return text
    value = resolve(text) if text else None
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == _kind_of(text, value):
        return value
    raise WrongTagError(f"{text!r} is not a !!{kind}")


def _kind_of(text: str, value: Scalar) -> str:
    if isinstance(value, str):
        return "str"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    return "float" if isinstance(_number(text), float) else "int"


def as_json(number: float) -> int | float:
    """Return a number as it arrives after JSON: a whole one is an integer if it fits 64 bits."""
    if isinstance(number, int):
        return number if -_INT64 <= number < _INT64 else float(number)
    if number.is_integer() and -_INT64 <= number < _INT64:
        return int(number)
    return number


def _number(text: str) -> int | float | None:
    """Return the number goyaml sees: an int within 64 bits, a float, or None for a string."""
    if text[0] == ".":
        return _float(text, _DOT_FLOAT.fullmatch)
    plain = text.replace("_", "")
    whole = _integer(plain)
    if whole is not None:
        return whole
    found = _float(plain, _FLOAT.fullmatch)
    if found is not None:
        return found
    signed = _SIGNED_BINARY.fullmatch(plain)
    if signed is not None and len(signed[1]) <= 64:
        return int(signed[1], 2)
    return None


def _integer(plain: str) -> int | None:
    match = _INTEGER.fullmatch(plain)
    if match is None or len(plain) > _MAX_DIGITS:
        return None
    kind = match.lastgroup or "dec"
    value = int(match[kind], _BASES[kind])
    if plain[0] == "-":
        return -value if value <= _INT64 else None
    # ParseUint takes no sign
    return value if value < (_INT64 if plain[0] == "+" else _UINT64) else None


def _float(text: str, matches: Callable[[str], object]) -> float | None:
    if not matches(text):
        return None
    value = float(text)
    return None if value in (float("inf"), float("-inf")) else value


def _short_float(value: float) -> str:
    """Return a float key as kubectl spells it: the shortest text that is the same 32-bit float, Go's %g."""
    try:
        single = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return ".inf" if value > 0 else "-.inf"
    digits = next(d for d in range(1, 18) if _as_single(f"{single:.{d - 1}e}") == single)
    mantissa, _, exponent = f"{single:.{digits - 1}e}".partition("e")
    power = int(exponent)
    if power < -4 or power >= 6:
        return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return f"{single:.{max(digits - 1 - power, 0)}f}"


def _as_single(text: str) -> float:
    return float(struct.unpack("<f", struct.pack("<f", float(text)))[0])
