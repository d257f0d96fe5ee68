"""What may be fetched, which spellings are one repository, and where a credential belongs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.repositories import (
    check_path,
    check_target_revision,
    find_key,
    is_commit_id,
    parse_repository,
    same_repository,
    scrub,
)
from agent.errors import ConfigError, SourceRefusedError
from agent.source.credentials import parse_credentials


@pytest.mark.parametrize(
    "url",
    [
        "",
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=x",
        "ext::sh -c touch% /tmp/x",
        "file:///etc",
        "fd::17",
        "ssh://-oProxyCommand=x/a",
        "git@gitlab.com:group/config.git",
        "http://gitlab.com/group/config.git",
        "git://gitlab.com/group/config.git",
        "https://user:pw@gitlab.com/group/config.git",
        "https://user@gitlab.com/group/config.git",
        "https://gitlab.com/group/config.git\r\nHost: x",
        "https://gitlab.com/group%0aHost:x/config.git",
        "https://gitlab.com/group/../other/config.git",
        "https://gitlab.com/group/%2e%2e/other/config.git",
        "https://gitlab.com/group%2fother/config.git",
        "https://gitlab.com/group//config.git",
        "https://gitlab.com/-x/config.git",
        "https://gitlab.com/group/config.git?x=1",
        "https://gitlab.com/group/config.git#x",
        "https://gitlab.com:99999/group/config.git",
        "https://-gitlab.com/group/config.git",
        "https:///group/config.git",
        "https://gitlab.com",
        "https://gitl\u0430b.com/cyrillic/a.git",
        "https://gitlab.com/" + "a" * 3000,
    ],
)
def test_addresses_that_are_more_than_an_address_are_refused(url):
    """G1: scheme and characters by allow-list; the message names the field and no password."""
    with pytest.raises(SourceRefusedError, match=r"spec\.source\.repoURL") as caught:
        parse_repository(url)
    assert "pw@" not in str(caught.value)
    assert not caught.value.retry


def test_an_ordinary_address_is_taken_apart():
    found = parse_repository("https://GitLab.com:443/nanuchi/argocd-app-config.git/")
    assert found.url == "https://gitlab.com/nanuchi/argocd-app-config.git"
    assert found.key == "gitlab.com/nanuchi/argocd-app-config"
    assert parse_repository("https://127.0.0.1:8443/a/b").host == "127.0.0.1:8443"
    assert parse_repository("https://dev.azure.com/org/My%20Project/_git/x").path.endswith("/x")


@pytest.mark.parametrize(
    "other",
    [
        "https://gitlab.com/Group/Config",
        "ssh://git@gitlab.com/group/config.git",
        "git@gitlab.com:group/config.git",
        "https://gitlab.com/group/config/",
        "https://bot:token@gitlab.com:443/group/config.git",
    ],
)
def test_spellings_of_one_repository_are_the_same(other):
    """D6: https, ssh, `.git` and case."""
    assert same_repository("https://gitlab.com/group/config.git", other)


def test_different_repositories_and_nonsense_are_not_the_same():
    assert not same_repository("https://gitlab.com/group/config", "https://gitlab.com/group/conf")
    assert not same_repository("https://a.example/g/c", "https://a.example:8443/g/c")
    assert not same_repository("nonsense", "nonsense")


@given(st.text())
def test_any_text_has_a_key_or_none(text):
    """What a hub sends is compared without failing."""
    assert find_key(text) is None or isinstance(find_key(text), str)


@given(st.text(max_size=60))
def test_any_address_is_taken_or_refused(text):
    for url in (text, f"https://{text}", f"https://gitlab.com/{text}"):
        try:
            found = parse_repository(url)
        except SourceRefusedError:
            continue
        assert found.url.startswith("https://")
        assert "@" not in found.host
        assert not any(part in {"", ".", ".."} for part in found.path.split("/")[1:])


@pytest.mark.parametrize(
    "revision",
    ["-x", "--upload-pack=x", "a b", "a..b", "^1.2", "1.*", ">=1.0", "a@{1}", "a\n", "x.lock", "@"],
)
def test_revisions_that_git_would_read_otherwise_are_refused(revision):
    with pytest.raises(SourceRefusedError, match=r"spec\.source\.targetRevision"):
        check_target_revision(revision)


@pytest.mark.parametrize("revision", ["main", "release/1.2", "v1.0+build", "feature#7", "größe"])
def test_ordinary_branches_and_tags_are_taken(revision):
    assert check_target_revision(revision) == revision


def test_no_revision_means_head():
    assert check_target_revision("") == check_target_revision("HEAD") == "HEAD"
    assert is_commit_id("a" * 40)
    assert is_commit_id("0" * 64)
    assert not is_commit_id("a" * 41)


def test_a_path_is_split_and_may_not_leave():
    assert check_path("./envs//dev/") == ("envs", "dev")
    assert check_path(".") == check_path("") == ()
    for path in ("..", "a/../b", "/a", "a\\b", ".git/hooks", "a/.GIT"):
        with pytest.raises(SourceRefusedError, match=r"spec\.source\.path"):
            check_path(path)


def test_userinfo_and_control_characters_leave_a_text():
    assert scrub("fatal: https://u:t@h/x\x1b[2J and ssh://git@h/y") == (
        "fatal: https://h/x[2J and ssh://h/y"
    )


def test_a_credential_fits_its_host_and_whole_path_segments_only():
    """G4: exact host and port, prefix by segment, never http."""
    (found,) = parse_credentials("# ours\n\nhttps://reader:t%40ken@gitlab.com/group\n")
    assert (found.user, found.password) == ("reader", "t@ken")
    assert found.fits(parse_repository("https://gitlab.com/group/config.git"))
    for url in (
        "https://gitlab.com/groupies/config.git",
        "https://gitlab.com/other/group/config.git",
        "https://gitlab.com:8443/group/config.git",
        "https://gitlab.com.evil.example/group/config.git",
    ):
        assert not found.fits(parse_repository(url))
    assert "t@ken" not in repr(found)


@pytest.mark.parametrize(
    "line",
    ["https://gitlab.com/x", "https://u@h/x", "http://u:p@h/x", "u:canary@h", "https://u:a%0ab@h/"],
)
def test_a_bad_credential_line_is_named_by_number_only(line):
    with pytest.raises(ConfigError, match="line 2") as caught:
        parse_credentials(f"# first\n{line}\n")
    assert "canary" not in str(caught.value) + caught.value.hint
