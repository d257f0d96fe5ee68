"""`lockgate bump` as a CI job runs it: what it refuses, holds, finds and leaves alone."""

import os
import subprocess
from pathlib import Path

import pytest

from sandbox.forge import SandboxForge
from sandbox.forge.seed import DEPLOYMENT
from sandbox.stack import script
from tests.bump_desk import BRANCH, IMAGE, BumpDesk


@pytest.fixture
def desk(forge: SandboxForge) -> BumpDesk:
    return BumpDesk(forge)


def test_one_line_of_one_file_changes(desk: BumpDesk):
    answer = desk.bump("1.2").answer
    assert answer["changed"] is True
    assert [(e["file"], e["before"], e["after"]) for e in answer["edits"]] == [
        ("dev/deployment.yaml", f"{IMAGE}:1.0", f"{IMAGE}:1.2")
    ]
    assert desk.git("diff", "--shortstat", f"main...{BRANCH}") == (
        "1 file changed, 1 insertion(+), 1 deletion(-)"
    )


def test_nothing_to_change_is_done_and_says_so(desk: BumpDesk):
    done = desk.bump("1.0")
    assert done.code == 0
    assert done.answer["changed"] is False
    assert done.answer["message"]
    assert desk.branches() == ["main"]


def test_an_older_pipeline_that_ends_late_changes_nothing(desk: BumpDesk):
    """C2, D18: neither against the branch nor, after the merge, against the target's history."""
    newer = {"LOCKGATE_SOURCE": "group/app", "LOCKGATE_PIPELINE": "20"}
    older = {"LOCKGATE_SOURCE": "group/app", "LOCKGATE_PIPELINE": "10"}
    first = desk.bump("1.3", **newer).answer
    late = desk.bump("1.2", **older)
    assert (late.code, late.answer["changed"]) == (0, False)
    assert "1.3" in desk.git("show", f"{BRANCH}:dev/deployment.yaml")
    desk.merge(first["merge_request"]["number"])
    late = desk.bump("1.2", **older)
    assert (late.code, late.answer["changed"]) == (0, False)
    assert desk.open_ones() == []
    forced = desk.bump("1.2", "--allow-downgrade", **older)
    assert forced.answer["changed"] is True


def test_a_reverted_bump_is_held_until_something_newer(desk: BumpDesk):
    """D25: a person took it back; the same image is not proposed again."""
    number = desk.bump("1.2").answer["merge_request"]["number"]
    desk.merge(number)
    revert = desk.forge.as_user("senior").revert(number)
    desk.merge(revert)
    held = desk.bump("1.2")
    assert (held.code, held.answer["held"], held.answer["changed"]) == (0, True, False)
    assert desk.open_ones() == []
    newer = desk.bump("1.3").answer
    assert (newer["held"], newer["changed"]) == (False, True)


def test_a_dry_run_shows_the_diff_and_pushes_nothing(desk: BumpDesk):
    done = desk.bump("1.2", "--dry-run")
    assert f"+        image: {IMAGE}:1.2" in done.answer["diff"]
    assert desk.branches() == ["main"]
    assert desk.open_ones() == []


def test_without_a_project_it_says_which_option_is_missing(desk: BumpDesk):
    """D17: the CI's own project is the app's, never this one."""
    argv = [each for each in desk.argv("1.2") if each not in {"--project", "group/config"}]
    done = desk.run(argv, CI_PROJECT_PATH="group/config")
    assert done.code == 2
    assert "--project" in done.err


def test_a_forks_pipeline_without_a_token_gets_one_clear_line(desk: BumpDesk):
    """C4."""
    fork = {
        "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": "someone/app",
        "CI_MERGE_REQUEST_PROJECT_PATH": "group/app",
    }
    done = desk.run(desk.argv("1.2"), LOCKGATE_TOKEN="", **fork)
    assert done.code == 2
    assert "fork" in done.err.splitlines()[0]


def test_an_unknown_environment_lists_what_there_is(desk: BumpDesk):
    done = desk.bump("1.2", "--env", "prod")
    assert done.code == 2
    assert "prod" in done.err
    assert "dev" in done.err


def test_a_broken_policy_file_is_named_with_its_line(desk: BumpDesk, forge: SandboxForge):
    senior = forge.as_user("senior")
    senior.push("fix", {".lockgate.yaml": "environments:\n  dev:\n    pfad: dev\n"})
    senior.merge(senior.open("fix"))
    done = desk.bump("1.2")
    assert done.code == 2
    assert ".lockgate.yaml:3" in done.err


def test_without_the_policy_file_the_folder_is_found_and_named(desk: BumpDesk, forge: SandboxForge):
    senior = forge.as_user("senior")
    senior.push("fix", {".lockgate.yaml": None})
    senior.merge(senior.open("fix"))
    done = desk.bump("1.2")
    assert done.code == 0, done.err
    assert done.answer["path"] == "dev"
    assert "dev" in done.err + done.answer["message"]


def test_a_digest_pinned_in_the_file_needs_a_decision(desk: BumpDesk, forge: SandboxForge):
    """D19."""
    digest = "sha256:" + "0" * 64
    senior = forge.as_user("senior")
    senior.push("pin", {"dev/deployment.yaml": DEPLOYMENT.replace(":1.0", f":1.0@{digest}")})
    senior.merge(senior.open("pin"))
    done = desk.bump("1.2")
    assert done.code == 2
    assert "dev/deployment.yaml:" in done.err
    assert "--drop-digest" in done.err
    assert desk.bump("1.2", "--drop-digest").answer["changed"] is True


def test_a_worktree_is_edited_in_place_and_nothing_is_committed(desk: BumpDesk, tmp_path: Path):
    """D21."""
    checkout = tmp_path / "checkout"
    subprocess.run(
        ["git", "clone", "-q", str(desk.forge.repository_dir()), str(checkout)], check=True
    )
    done = desk.bump("1.2", "--worktree", str(checkout))
    assert done.code == 0, done.err
    changed = subprocess.run(
        ["git", "-C", str(checkout), "status", "--short"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert changed == " M dev/deployment.yaml\n"
    assert desk.branches() == ["main"]


def test_the_token_is_in_no_argument_environment_or_file_of_git(desk: BumpDesk, tmp_path: Path):
    """S4, D23: a wrapper in git's place writes down all it can see."""
    seen = tmp_path / "seen"
    folder = tmp_path / "bin"
    folder.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout
    wrapper = folder / "git"
    wrapper.write_text(
        f'#!/bin/sh\n{{ echo "$@"; env; cat "$GIT_DIR/config" 2>/dev/null; }} >> {seen}\nexec {real.strip()} "$@"\n'
    )
    wrapper.chmod(0o755)
    done = desk.bump("1.2", PATH=f"{folder}:{os.environ['PATH']}")
    assert done.code == 0, done.err
    text = seen.read_text()
    assert "push" in text
    assert desk.forge.token("lockgate-bot") not in text


@pytest.mark.parametrize("tag", ["a b", "-x", "1.2\n", "x" * 129, "$(id)", "--help"])
def test_a_tag_no_registry_would_take_is_refused(desk: BumpDesk, tag: str):
    """Y9, C1: a hostile tag is data, never an option or a command."""
    argv = desk.argv("1.2")
    argv[argv.index("--tag") : argv.index("--tag") + 2] = [f"--tag={tag}"]
    done = desk.run(argv)
    assert done.code == 2
    assert desk.branches() == ["main"]


def test_the_gate_says_why_as_an_exit_code(desk: BumpDesk, forge: SandboxForge):
    number = desk.bump("1.2").answer["merge_request"]["number"]
    gate = [script("lockgate"), "gate", "--project", "group/config", "--mr", str(number)]
    waiting = desk.run(gate)
    assert waiting.code == 3
    assert "0 of 1 approval" in waiting.out
    forge.as_user("senior").approve(number)
    assert desk.run(gate).code == 0
    forge.as_user("senior").close(number)
    assert desk.run(gate).code == 4


def test_merge_merges_only_what_the_gate_lets_through(desk: BumpDesk, forge: SandboxForge):
    number = desk.bump("1.2").answer["merge_request"]["number"]
    merge = [script("lockgate"), "merge", "--project", "group/config", "--mr", str(number)]
    token = forge.token("senior")
    assert desk.run(merge, LOCKGATE_TOKEN=token).code == 3
    assert desk.open_ones() == [number]
    # The senior's token merges here, so the senior's own approval would be the bot's.
    forge.as_user("senior").approve(number)
    assert desk.run(merge, LOCKGATE_TOKEN=token).code == 3
    assert desk.open_ones() == [number]
