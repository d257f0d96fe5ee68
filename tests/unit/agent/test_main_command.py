"""The command line: exit codes, one-line errors, and a help that does not load the world."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run"], "--cluster"),
        (["run", "--cluster=dev", "--hub=hub.example:1", "--insecure-loopback"], "--hub"),
        (["run", "--cluster=dev", "--hub=127.0.0.1:1"], "--hub"),
        (["run", "--cluster=dev", "--kubeconfig=/nowhere"], "--kubeconfig"),
        (["run", "--no-such-option"], "--no-such-option"),
        (["manifests", "--namespaces=../x"], "--namespace"),
    ],
)
def test_usage_errors_exit_2_and_name_the_option(arguments, named):
    ended = run(*arguments)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr


def test_options_come_from_the_environment_too():
    ended = run("run", LOCKGATE_AGENT_CLUSTER="dev", LOCKGATE_AGENT_POLL="often")
    assert ended.returncode == 2
    assert "--poll" in ended.stderr


def test_no_cluster_to_talk_to_is_one_error(tmp_path):
    ended = run("run", "--cluster=dev", f"--cache-dir={tmp_path}", "--metrics-listen=off")
    assert ended.returncode == 2
    assert "no cluster to talk to" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_help_loads_neither_grpc_nor_kubernetes():
    """`--help` and `--version` answer at once."""
    code = (
        "import sys; from agent.__main__ import cli\n"
        "try: cli(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'grpc', 'kubernetes', 'structlog', 'pydantic', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert run("--version").stdout.startswith("lockgate-agent ")


def test_manifests_are_printed():
    ended = run("manifests")
    assert ended.returncode == 0
    assert "kind: CustomResourceDefinition" in ended.stdout
