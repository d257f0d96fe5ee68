"""What the stand-in says GitLab would do with a comment, by GitLab's published syntax."""

import pytest

from sandbox.forge.markdown import Effects, effects, render


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ping @all and @group/sub", Effects(mentions=("all", "group/sub"))),
        ("&#64;all", Effects(mentions=("all",))),
        ("done\n/merge", Effects(quick_actions=("merge",))),
        ("done\r/approve now", Effects(quick_actions=("approve",))),
        ("fixes #12, see !3", Effects(references=("#12", "!3"))),
        ("group/config!4", Effects(references=("!4",))),
        ("in abc1234def", Effects(references=("abc1234def",))),
        ("~bug", Effects(references=("~bug",))),
        ("![](http://elsewhere/x.png)", Effects(external_urls=("http://elsewhere/x.png",))),
        ("<img src=//elsewhere/x>", Effects(external_urls=("//elsewhere/x",))),
        ("go to http://elsewhere/", Effects(external_urls=("http://elsewhere/",))),
    ],
)
def test_what_gitlab_would_act_on_is_found(text, expected):
    """A checker that finds nothing would call everything inert."""
    assert effects(text) == expected
    assert not expected.inert


@pytest.mark.parametrize(
    "text",
    [
        "`@all !1 #2 ~bug http://elsewhere/`",
        "```\n/merge\n@all\n```",
        "    /merge",
        r"\@all and \!1",
        "@\N{ZERO WIDTH SPACE}all",
        "someone@example.com",
        "see dev/deployment.yaml: 2/2 pods",
        "say /merge in a sentence",
        "/no-such-command",
        "<!-- lockgate:abc -->",
        "[a](javascript:alert(1))",
    ],
)
def test_what_gitlab_would_not_act_on_is_inert(text):
    """Code, escapes and broken-up words have no effect."""
    assert effects(text).inert


def test_addresses_of_our_own_are_not_external():
    """A link to the forge itself leads nowhere else."""
    assert effects("[x](http://127.0.0.1:1/a)", own=("http://127.0.0.1:1/",)).inert


def test_what_is_shown_carries_no_script():
    """The page shows Markdown, tables and folds, and nothing that runs."""
    html = render("<script>alert(1)</script><b onclick='x()'>a</b>\n\n|a|b|\n|-|-|\n|1|2|")
    assert "script" not in html
    assert "onclick" not in html
    assert "<table>" in html
    assert "<details>" in render("<details><summary>more</summary>\n\ntext\n\n</details>")
