"""Foreign text in Markdown, made inert.

Names, messages and commit text come from people and programs we do not trust. They go into code spans: inside one,
neither forge acts on mentions, quick actions, references, HTML, links or images. What could end the span or the
line, or reorder what is read (control and bidirectional characters), is taken out first.
"""

import re
import unicodedata

LIMIT = 300
_BACKTICKS = re.compile(r"`+")
_WORD = re.compile(r"[A-Za-z0-9'(][A-Za-z0-9'()-]*%?[,.;:)]?")
_HEX = re.compile(r"(?<![\w-])[0-9a-f]{7,}(?![\w-])")
_SPACES = re.compile(r"\s+")


def clean(text: str, limit: int = LIMIT) -> str:
    """Return `text` as one line without control, format and surrogate characters, at most `limit` long."""
    one_line = _SPACES.sub(" ", text[: limit * 4])
    kept = "".join(
        char
        if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        else "\N{REPLACEMENT CHARACTER}"
        for char in one_line
    ).strip()
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def code(text: str, limit: int = LIMIT) -> str:
    """Return `text` as a code span that nothing inside can leave; empty text gives a dash."""
    kept = clean(text, limit)
    if not kept:
        return "-"
    longest = max((len(run) for run in _BACKTICKS.findall(kept)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if kept[0] == "`" or kept[-1] == "`" else ""
    return f"{fence}{pad}{kept}{pad}{fence}"


def sentence(text: str, limit: int = LIMIT) -> str:
    """Return foreign prose with plain words left readable and every other token in a code span."""
    return " ".join(_word(token) for token in clean(text, limit).split(" ") if token)


def _word(token: str) -> str:
    if _is_plain(token):
        return token
    bare = token.rstrip(",.;:")
    # Punctuation reads better outside the span; with nothing left there is no span to put it beside.
    return code(bare) + token[len(bare) :] if bare else code(token)


def _is_plain(token: str) -> bool:
    # A bare commit id would become a reference on GitLab.
    return bool(_WORD.fullmatch(token)) and not _HEX.search(token)


def cell(markdown: str) -> str:
    """Return one cell of a table: a bare pipe would end it, also inside a code span."""
    return markdown.replace("|", "\\|")


def link(text: str, url: str) -> str:
    """Return a link with our own `url`; plain code where there is none. `text` is foreign."""
    if not url.startswith(("https://", "http://")) or re.search(r"[\s<>()\[\]\"'`|]", url):
        return code(text)
    return f"[{code(text)}]({url})"
