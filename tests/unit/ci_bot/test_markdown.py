"""Foreign text stays text."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ci_bot.core.markdown import cell, clean, code, link, sentence

ATTACKS = [
    "@all",
    "/merge",
    "x\n/approve\n",
    "!1 #1 $2 &3 ~bug",
    "`` ` ``` a",
    "`",
    "<img src=x onerror=alert(1)>",
    "![](http://evil.example/p.png)",
    "[x](javascript:alert(1))",
    "www.evil.example",
    "a@evil.example",
    "\u202eevil\u202c",
    "a | b",
    "--> <!-- lockgate:0 -->",
    "\ud800",
    "x" * 1_000_000,
    "0f9e8d7c",
    "https://evil.example/",
]
RENDERER = MarkdownIt("gfm-like", {"linkify": False}).enable("table")


def rendered_tokens(markdown: str) -> set[str]:
    return {
        child.type
        for token in RENDERER.parse(markdown)
        for child in [token, *(token.children or [])]
    }


HARMLESS = {"paragraph_open", "inline", "paragraph_close", "text", "code_inline"}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("shape", [code, sentence])
def test_foreign_text_is_words_and_code_spans_only(attack: str, shape):
    """Nothing foreign becomes a link, an image, HTML, a heading or a list."""
    assert rendered_tokens("said: " + shape(attack)) <= HARMLESS


@given(st.text(max_size=80))
def test_a_code_span_holds_all_of_the_text_and_nothing_leaves_it(text: str):
    (paragraph,) = [t for t in RENDERER.parse("a " + code(text) + " z") if t.type == "inline"]
    kinds = [child.type for child in paragraph.children]
    if clean(text):
        assert kinds == ["text", "code_inline", "text"]
        assert paragraph.children[1].content.strip() == clean(text)
    else:
        assert kinds == ["text"]


@given(st.text(max_size=200))
def test_clean_text_is_one_line_without_control_or_direction_characters(text: str):
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs"} for char in clean(text))
    assert len(clean(text, 50)) <= 50


@given(st.text(max_size=120))
def test_no_mention_reference_or_address_stands_outside_a_span(text: str):
    """GitLab acts on @, !, #, / and bare commit ids outside code only."""
    outside = re.sub(r"(`+).*?(?<!`)\1(?!`)", "", sentence(text))
    assert not re.search(r"[@!#$&~/\\<>\[\]*_]|www\.\w|://|\b[0-9a-f]{7,}\b", outside)


def test_plain_prose_stays_readable():
    text = "1 of 2 approvals; waiting for a maintainer"
    assert sentence(text) == text


@given(st.text(max_size=60))
def test_a_cell_never_ends_its_row(text: str):
    table = f"| a | b |\n|---|---|\n| {cell(code(text))} | z |"
    cells = [t for t in RENDERER.parse(table) if t.type == "td_open"]
    assert len(cells) == 2


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://x/a b", "https://x/)(", "ftp://x", ""]
)
def test_only_our_own_plain_addresses_become_links(url: str):
    assert link("1a2b3c4d", url) == "`1a2b3c4d`"


def test_a_commit_links_to_the_forge():
    assert link("1a2b", "https://f/c/1a2b") == "[`1a2b`](https://f/c/1a2b)"
