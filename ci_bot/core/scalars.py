"""What a plain YAML scalar would be read as, by the readers a config repo meets.

YAML 1.1 (kubectl's and Helm's parser, PyYAML) reads `on`, `1.10`, `12:30:45` and `2024-01-02` as something other
than the string that was meant; YAML 1.2 reads `0o17` so. A tag that any of them would misread is written in
quotes; every other tag is written as it is, so that a diff shows the tag and nothing else.
"""

import re

_WORDS = frozenset(
    {"y", "yes", "n", "no", "true", "false", "on", "off", "null", "~", "=", "<<", ""}
)
_NOT_A_STRING = re.compile(
    r"""
      [-+]?0[bB][01_]+                                   # 0b101
    | [-+]?0[oO][0-7_]+                                  # 0o17, YAML 1.2 and Go
    | [-+]?0[xX][0-9a-fA-F_]+                            # 0xff
    | [-+]?[0-9][0-9_]*                                  # 12, 1_000, 0777, 08
    | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?   # 12:30:45, sexagesimal
    | [-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)(?:[eE][-+]?[0-9]+)?   # 1.10, .5, 1e3
    | [-+]?\.(?:inf|Inf|INF)
    | \.(?:nan|NaN|NAN)
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}                     # a date
      (?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?)?
    """,
    re.VERBOSE | re.ASCII,
)
_INDICATORS = "-?:,[]{}#&*!|>'\"%@`"


def reads_as_string(plain: str) -> bool:
    """Return whether every reader takes the unquoted text for this very string."""
    if plain.lower() in _WORDS or _NOT_A_STRING.fullmatch(plain):
        return False
    return plain[0] not in _INDICATORS and not plain.endswith(":")


def spell(text: str, style: str) -> str:
    """Return the scalar as it is to be written, in the style that is there; quotes only where needed."""
    if style in {"'", '"'}:
        return f"{style}{text}{style}"
    return text if reads_as_string(text) else f'"{text}"'
