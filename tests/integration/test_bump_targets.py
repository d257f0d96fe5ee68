"""One rolling branch per target: whose commit it carries, what landed by which merge method, and where it goes."""

import subprocess

import pytest

from sandbox.forge import SandboxForge
from sandbox.forge.seed import DEPLOYMENT
from tests.bump_desk import BRANCH, IMAGE, BumpDesk
from tests.eventually import eventually

NEWER = {"LOCKGATE_SOURCE": "group/app", "LOCKGATE_PIPELINE": "20"}
OLDER = {"LOCKGATE_SOURCE": "group/app", "LOCKGATE_PIPELINE": "10"}


@pytest.fixture
def desk(forge: SandboxForge) -> BumpDesk:
    return BumpDesk(forge)


def land(forge: SandboxForge, branch: str, files: dict[str, str | None]) -> None:
    """Bring a person's change to main."""
    senior = forge.as_user("senior")
    senior.push(branch, files)
    senior.merge(senior.open(branch))


def number_of(answer: dict[str, object]) -> int:
    link = answer["merge_request"]
    assert isinstance(link, dict)
    return int(link["number"])


def test_a_squash_merge_loses_the_trailers_but_not_the_order(desk: BumpDesk, forge: SandboxForge):
    """D18 over a merge method that drops the commit: the merged merge request still says which pipeline it was."""
    number = number_of(desk.bump("1.3", **NEWER).answer)
    forge.as_user("senior").merge(number, squash=True)
    assert "Lockgate-Pipeline" not in desk.git("log", "-1", "--format=%B", "main")
    late = desk.bump("1.2", **OLDER)
    assert (late.code, late.answer["changed"], late.answer["merge_request"]) == (0, False, None)
    assert "older" in late.answer["message"]


def test_an_older_pipeline_opens_the_merge_request_a_newer_one_died_before(
    desk: BumpDesk, forge: SandboxForge
):
    """C3: the newer bump pushed and was killed; whoever comes next finishes its work, not its own."""
    fault = forge.faults.add("hang", method="POST", path=r"/merge_requests$", seconds=60)
    newer = subprocess.Popen(
        desk.argv("1.3"),
        env=desk.environment(**NEWER),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def silent() -> None:
        assert fault.hits

    eventually(silent)
    newer.kill()
    newer.wait()
    forge.faults.clear()
    assert (BRANCH in desk.branches(), desk.open_ones()) == (True, [])
    late = desk.bump("1.2", **OLDER)
    assert late.answer["changed"] is False
    (number,) = desk.open_ones()
    assert "1.3" in forge.as_user("senior").merge_request(number).title


def test_a_rerun_keeps_the_head_and_its_approvals(desk: BumpDesk):
    """The same tag from a newer pipeline is the same change: the commit that was approved stays."""
    first = desk.bump("1.2", **OLDER).answer
    again = desk.bump("1.2", **NEWER).answer
    assert again["commit"] == first["commit"]
    assert again["changed"] is False
    late = desk.bump("1.1", LOCKGATE_SOURCE="group/app", LOCKGATE_PIPELINE="15").answer
    assert late["changed"] is False  # the newer pipeline is remembered all the same


def test_a_merge_request_that_became_pointless_is_closed(desk: BumpDesk, forge: SandboxForge):
    number = number_of(desk.bump("1.2").answer)
    land(forge, "by-hand", {"dev/deployment.yaml": DEPLOYMENT.replace(":1.0", ":1.2")})
    done = desk.bump("1.2")
    assert (done.code, done.answer["changed"]) == (0, False)
    assert desk.open_ones() == []
    assert f"!{number}" in done.answer["message"]


def test_our_own_commit_that_a_person_amended_is_foreign(desk: BumpDesk, forge: SandboxForge):
    """The trailers alone prove nothing: the seal is over what the commit changes."""
    desk.bump("1.2")
    message = desk.git("log", "-1", "--format=%B", BRANCH)
    forge.as_user("junior").push("copy", {"dev/deployment.yaml": DEPLOYMENT.replace(":1.0", ":9")})
    tree = desk.git("rev-parse", "copy^{tree}")
    amended = subprocess.run(
        ["git", "-C", str(forge.repository_dir()), "-c", "user.name=j", "-c", "user.email=j@x.test",
         "commit-tree", tree, "-p", "main", "-m", message],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    forge.as_user("junior").force_push(BRANCH, amended)
    done = desk.bump("1.3")
    assert done.code == 4
    assert amended[:8] in done.err
    assert desk.git("rev-parse", BRANCH) == amended


def test_two_images_of_one_slug_get_two_branches(desk: BumpDesk, forge: SandboxForge):
    """D12: a hash on collision; neither bump takes the other's branch."""
    other = "nanajanashia-argocd/app"
    land(forge, "second", {"dev/second.yaml": DEPLOYMENT.replace(IMAGE, other)})
    desk.bump("1.2")
    argv = [other if each == IMAGE else each for each in desk.argv("1.2")]
    done = desk.run(argv)
    assert done.code == 0, done.err
    assert done.answer["branch"].startswith(f"{BRANCH}-")
    assert len(desk.open_ones()) == 2
    assert desk.run(argv).answer["changed"] is False


def test_a_branch_in_the_way_of_ours_is_named(desk: BumpDesk, forge: SandboxForge):
    """D12: git cannot have both `lockgate/dev` and `lockgate/dev/app`."""
    desk.git("update-ref", "refs/heads/lockgate/dev", "main")
    done = desk.bump("1.2")
    assert done.code == 2
    assert "'lockgate/dev'" in done.err
    assert "hint:" in done.err


def test_an_environment_on_a_branch_of_its_own(desk: BumpDesk, forge: SandboxForge):
    config = "environments:\n  dev: {path: dev, branch: env/dev, tier: development}\n"
    land(forge, "config", {".lockgate.yaml": config})
    desk.git("update-ref", "refs/heads/env/dev", "main")
    answer = desk.bump("1.2").answer
    assert answer["target_branch"] == "env/dev"
    merge_request = forge.as_user("senior").merge_request(number_of(answer))
    assert merge_request.target_branch == "env/dev"


def test_an_environment_that_could_be_two_folders_is_a_question(
    desk: BumpDesk, forge: SandboxForge
):
    land(forge, "more", {".lockgate.yaml": None, "envs/dev/deployment.yaml": DEPLOYMENT})
    done = desk.bump("1.2")
    assert done.code == 2
    assert "dev/ or envs/dev/" in done.err
    assert desk.bump("1.2", "--path", "envs/dev").answer["path"] == "envs/dev"


def test_an_image_that_nothing_names_is_not_nothing_to_change(desk: BumpDesk):
    argv = ["registry.example/typo" if each == IMAGE else each for each in desk.argv("1.2")]
    done = desk.run(argv)
    assert done.code == 2
    assert "registry.example/typo" in done.err
