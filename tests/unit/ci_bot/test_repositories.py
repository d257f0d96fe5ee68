"""Addresses of repositories: what means the same compares equal, what does not never does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_bot.core.repositories import covers, normalise

_LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)
_HOST = st.lists(_LABEL, min_size=1, max_size=3).map(".".join)
_PATH = st.lists(_LABEL, min_size=2, max_size=4).map("/".join)


@st.composite
def _spellings(draw: st.DrawFn) -> tuple[str, str, str]:
    """Return host, path and one of the ways people write them."""
    host, path = draw(_HOST), draw(_PATH)
    shown_host = draw(st.sampled_from([host, host.upper(), host.title()]))
    shown_path = draw(st.sampled_from([path, path.upper()]))
    shown_path += draw(st.sampled_from(["", ".git", "/", ".git/"]))
    user = draw(st.sampled_from(["", "git@", "someone:secret@"]))
    form = draw(
        st.sampled_from(
            [
                f"https://{user}{shown_host}/{shown_path}",
                f"https://{user}{shown_host}:443/{shown_path}",
                f"HTTPS://{shown_host}/{shown_path}",
                f"ssh://git@{shown_host}/{shown_path}",
                f"ssh://git@{shown_host}:2222/{shown_path}",
                f"git@{shown_host}:{shown_path}",
                f"  https://{shown_host}/{shown_path}\n",
            ]
        )
    )
    return host, path, form


@given(_spellings())
def test_every_spelling_of_one_repository_compares_equal(case: tuple[str, str, str]):
    """https, ssh, scp-like, .git, slash, case, userinfo and default ports make no difference (D6)."""
    host, path, form = case
    assert normalise(form) == f"{host}/{path}"


@given(_spellings())
def test_normalising_twice_changes_nothing(case: tuple[str, str, str]):
    """The result, read as an https address, is its own normal form."""
    once = normalise(case[2])
    assert normalise(f"https://{once}") == once


@given(_spellings())
def test_no_userinfo_survives(case: tuple[str, str, str]):
    """What is compared may end up in a log: no user and no password is in it."""
    assert "@" not in normalise(case[2])
    assert "secret" not in normalise(case[2]).removeprefix(case[0])


@given(_HOST, _PATH, _PATH)
def test_two_repositories_never_compare_equal(host: str, one: str, other: str):
    """A hint or a token never goes to a repository that is not the one meant."""
    same = normalise(f"https://{host}/{one}") == normalise(f"git@{host}:{other}")
    assert same == (one == other)


@given(st.text(max_size=60))
def test_any_text_gives_an_answer(text: str):
    """Addresses come from agents and webhooks: no text may raise (W8)."""
    assert isinstance(normalise(text), str)


def test_a_port_somebody_chose_for_https_tells_two_forges_apart():
    """Two forges on one machine differ in nothing else."""
    assert normalise("https://forge.test:8443/g/c") != normalise("https://forge.test:9443/g/c")
    assert normalise("https://forge.test:8443/g/c.git") == "forge.test:8443/g/c"


@pytest.mark.parametrize(
    "text", ["", "config", "/srv/config", "https://", "https://host", "x:", "."]
)
def test_what_is_no_address_gives_nothing(text: str):
    """An empty result matches no project."""
    assert normalise(text) == ""


@pytest.mark.parametrize(
    ("folder", "path", "expected"),
    [
        ("dev", "dev/a.yaml", True),
        ("dev/", "dev/x/a.yaml", True),
        ("./dev", "dev/a.yaml", True),
        ("dev", "dev", True),
        ("dev", "development/a.yaml", False),
        ("dev", "prod/dev/a.yaml", False),
        (".", "anything", True),
        ("", "anything", True),
        ("envs/dev", "envs/a.yaml", False),
    ],
)
def test_a_folder_covers_what_lies_below_it(folder: str, path: str, expected: bool):
    """Names that merely begin alike are other folders."""
    assert covers(folder, path) is expected
