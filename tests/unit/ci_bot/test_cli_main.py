"""The command line itself: quick to start, clear when wrong, never a traceback."""

import subprocess
import sys

import click
import pytest

from ci_bot.cli import main as cli_main
from ci_bot.cli.main import run
from tests.conftest import ROOT


def test_help_imports_no_command_and_nothing_heavy():
    """`--help` lists the commands from a table: gitlab, ruamel, grpc and pydantic stay unloaded."""
    code = (
        "import sys; from ci_bot.cli.main import run; run(['--help']);"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in "
        "{'gitlab','ruamel','grpc','pydantic','rich','structlog','sqlalchemy'} or m == 'ci_bot.cli.bump'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    for command in ("bump", "gate", "merge", "wait", "status", "serve"):
        assert command in done.stdout


def test_an_unknown_command_or_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    assert run(["bumb"]) == 2
    assert run(["bump", "--nonsense"]) == 2
    assert "error:" in capsys.readouterr().err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lockgate ")


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ([], "--env or --path"),
        (["--env", "dev", "--path", "dev"], "--env or --path"),
        (["--path", "../x"], "must not contain .."),
        (["--path", "/x"], "relative"),
        (["--env", "dev;id"], "not a name"),
        (["--env", "dev", "--digest", "sha256:" + "0" * 64, "--drop-digest"], "contradict"),
        (["--env", "dev"], "--project"),
        (["--env", "dev", "--project", "a b"], "--project"),
        (["--env", "dev", "--project", "g/p"], "--forge-url"),
        (["--env", "dev", "--project", "g/p", "--forge-url", "http://h"], "https"),
        (["--env", "dev", "--project", "g/p", "--forge-url", "https://h"], "LOCKGATE_TOKEN"),
    ],
)
def test_what_is_missing_or_wrong_is_named(
    more: list[str], word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    for name in ("LOCKGATE_PROJECT", "LOCKGATE_TOKEN", "LOCKGATE_FORGE_URL", "CI_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CI_PROJECT_PATH", "group/app")
    assert run(["bump", "--image", "app", "--tag", "1", *more]) == 2
    said = capsys.readouterr()
    assert word in said.err
    assert said.out == ""


def test_a_defect_of_ours_is_one_line_and_says_how_to_report_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    @click.command("status")
    def broken() -> None:
        raise RuntimeError("secret-in-message")

    monkeypatch.setattr(cli_main.cli, "get_command", lambda *_: broken)
    monkeypatch.delenv("LOCKGATE_DEBUG", raising=False)
    assert run(["status"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "LOCKGATE_DEBUG=1" in said
    assert "secret-in-message" not in said
    assert "Traceback" not in said
    monkeypatch.setenv("LOCKGATE_DEBUG", "1")
    run(["status"])
    assert "Traceback" in capsys.readouterr().err
