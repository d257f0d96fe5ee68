"""Names: of images, branches, addresses and environments, and what is none of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci_bot.core.branches import (
    Origin,
    Trailers,
    blob_id,
    branch_problem,
    find_trailers,
    seal,
)
from ci_bot.core.changes import commit_message, draft_of, older_than
from ci_bot.core.edits import Edit
from ci_bot.core.environments import parse_repo_config
from ci_bot.core.images import check_digest, find_name, parse_name, slug, split_reference
from ci_bot.core.layout import choose_folder
from ci_bot.errors import ConfigError, UsageError
from ci_bot.repo.urls import check_url, scrub


@pytest.mark.parametrize(
    "spelling",
    [
        "nginx",
        "library/nginx",
        "docker.io/nginx",
        "docker.io/library/nginx",
        "index.docker.io/nginx",
    ],
)
def test_docker_hub_has_many_spellings_of_one_image(spelling: str):
    assert find_name(spelling) == find_name("nginx")
    assert str(find_name(spelling)) == "nginx"


def test_a_port_is_no_tag():
    reference = split_reference("10.42.0.1:30000/test:1.0@sha256:ab")
    assert (reference.name, reference.tag) == ("10.42.0.1:30000/test", "1.0")
    assert split_reference("localhost:5000/app").tag == ""


@pytest.mark.parametrize(
    "name", ["app:1.2", "app@sha256:ab", "App", "a b", "https://x/y", "", "-x"]
)
def test_what_is_no_image_name_is_refused_with_a_hint(name: str):
    with pytest.raises(UsageError) as refused:
        parse_name(name)
    assert refused.value.hint


@pytest.mark.parametrize(
    "digest", ["sha256:abc", "sha256:" + "G" * 64, "latest", "sha256:" + "0" * 65]
)
def test_what_is_no_digest_is_refused(digest: str):
    with pytest.raises(UsageError):
        check_digest(digest)


@given(st.text(max_size=300))
def test_a_slug_is_always_a_safe_part_of_a_branch(text: str):
    assert branch_problem(f"lockgate/dev/{slug(text)}") == ""


@pytest.mark.parametrize(
    "name",
    ["--upload-pack=x", "a..b", "a b", "x.lock", "/a", "a/", "a\nb", "", "@", "a@{1}", "é" * 201],
)
def test_what_git_would_misread_is_no_branch(name: str):
    assert branch_problem(name)


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch /tmp/x", "ext::sh -c id", "fd::3", "file:///etc", "http://h/x.git",
        "https://u:p@h/x.git", "https://h/%0ax", "https://h/a\nb", "ssh://-oProxyCommand=id/x",
        "https://h/../x", "git@h:x", "https://h",
    ],
)  # fmt: skip
def test_g1_an_address_that_could_run_something_is_refused(url: str):
    with pytest.raises(UsageError) as refused:
        check_url(url)
    assert "u:p" not in refused.value.message


@pytest.mark.parametrize(
    "url", ["https://h.example:8443/sub/g/p.git", "ssh://git@h.example/g/p.git"]
)
def test_plain_addresses_pass(url: str):
    assert check_url(url) == url


def test_gits_words_lose_the_token_and_userinfo():
    said = scrub("fatal: https://bot:hunter2@h/x: hunter2\x1b[31m", "hunter2")
    assert "hunter2" not in said
    assert "bot" not in said
    assert "\x1b" not in said


TRAILERS = Trailers(
    image="r.example/app", tag="1.2", target="dev/app", base="b" * 40, seal="s" * 32,
    source="group/app", pipeline=7,
)  # fmt: skip
EDIT = Edit(
    file="dev/a.yaml", line=3, before="r.example/app:1", after="r.example/app:1.2", kind="container"
)


def test_trailers_survive_commit_and_merge_request():
    message = commit_message(TRAILERS, [EDIT], [], Origin(source="group/app", pipeline=7))
    draft = draft_of(message, source_branch="b", target_branch="main")
    assert find_trailers(message) == TRAILERS
    assert find_trailers(draft.body) == TRAILERS
    assert draft.title == "Bump app to 1.2 in dev"
    assert "dev/a.yaml:3" in draft.body


def test_foreign_text_in_a_bump_stays_inert():
    """M1: a file's name and a value from the config repo are data on the merge request."""
    hostile = Edit(
        file="@all`/merge`.yaml", line=1, before="![x](http://e)", after="1\n/approve", kind="x"
    )
    draft = draft_of(
        commit_message(TRAILERS, [hostile], [], Origin(url="https://ci/<img src=x>")),
        source_branch="b",
        target_branch="main",
    )
    lines = draft.body.splitlines()
    assert not any(line.startswith(("/", "@")) for line in lines)
    assert next(line for line in lines if "@all" in line).startswith("- ``")
    assert "<https://ci/<img" not in draft.body


def test_only_a_later_pipeline_of_the_same_source_is_newer():
    mine = Origin(source="group/app", pipeline=6)
    assert older_than(mine, TRAILERS)
    assert not older_than(Origin(source="group/app", pipeline=7), TRAILERS)
    assert not older_than(Origin(source="other/app", pipeline=1), TRAILERS)
    assert not older_than(Origin(), TRAILERS)
    assert not older_than(mine, None)


def test_a_seal_is_over_paths_and_contents_whatever_their_order():
    one, two = ("a", blob_id(b"x")), ("b", blob_id(b"y"))
    assert seal([one, two]) == seal([two, one])
    assert seal([one]) != seal([("a", blob_id(b"z"))])
    assert blob_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_one_folder_is_an_answer_and_two_are_a_question():
    found = choose_folder("dev", {"overlays/dev"})
    assert found is not None
    assert found.path == "overlays/dev"
    assert choose_folder("dev", set()) is None
    with pytest.raises(UsageError, match="dev/ or envs/dev/"):
        choose_folder("dev", {"dev", "envs/dev"})


def test_a_whole_policy_file_is_read():
    config = parse_repo_config(
        b"environments:\n  dev: {path: ./dev/, tier: development}\n  prod:\n    path: .\n    branch: prod\n"
        b"reporters: [lockgate-hub]\napprovals: 2\n"
    )
    assert config.environments["dev"].path == "dev"
    assert (config.environments["prod"].path, config.environments["prod"].branch) == (".", "prod")
    assert (config.reporters, config.approvals) == (("lockgate-hub",), 2)
    assert parse_repo_config(b"# nothing\n").environments == {}


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("environments:\n  dev:\n    path: ../x\n", 3, "must not contain .."),
        ("environments:\n  dev:\n    path: /x\n", 3, "relative"),
        ("environments:\n  dev:\n    path: a\n    branch: --x\n", 4, "branch"),
        ("environments:\n  dev:\n    path: a\n    tier: gold\n", 4, "production"),
        ("environments:\n  dev: {}\n", 2, "no path"),
        ("environments:\n  DEV: {path: a}\n", 2, "not a name"),
        ("enviroments: {}\n", 1, "unknown key"),
        ("approvals: many\n", 1, "whole number"),
        ("reporters: me\n", 1, "list"),
        ("approvals: 1\napprovals: 0\n", 2, "line 1"),
        ("- a\n", 1, "mapping"),
        ("a: [\n", 2, "not YAML"),
        ("approvals: 1\n---\napprovals: 0\n", 3, "more than one document"),
    ],
)
def test_a_wrong_policy_file_is_named_by_line(text: str, line: int, word: str):
    with pytest.raises(ConfigError) as refused:
        parse_repo_config(text.encode())
    assert refused.value.message.startswith(f".lockgate.yaml:{line}:")
    assert word in refused.value.message + refused.value.hint
