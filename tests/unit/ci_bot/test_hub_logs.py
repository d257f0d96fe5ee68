"""Logs: one JSON object a line, values cut, nothing that looks like a credential."""

import json
from collections.abc import Iterator

import pytest
import structlog

from ci_bot import logs

TOKEN = "glpat-Zx81kQmVt9sLr2Wn"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    kept = structlog.get_config()
    yield
    structlog.configure(**kept)


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    "text",
    [
        f"token {TOKEN} refused",
        f"fatal: https://oauth2:{TOKEN}@forge.test/group/config",
        f"Authorization: Bearer {TOKEN}",
        "proxy http://someone:hunter2secret@proxy:3128 refused",
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str, capsys: pytest.CaptureFixture[str]):
    """A last line: an error of a library may carry what ours never does."""
    logs.configure()
    structlog.get_logger().info("forge refused", message=text)
    (line,) = said(capsys)
    assert TOKEN not in line["message"]
    assert "hunter2secret" not in line["message"]


def test_a_traceback_is_masked_and_kept_whole(capsys: pytest.CaptureFixture[str]):
    """The end of a traceback is what matters, and a token in it is a token."""
    logs.configure()
    error = ValueError("x" * 400 + f" https://oauth2:{TOKEN}@forge.test THE END")
    structlog.get_logger().error("work failed", exc_info=error)
    (line,) = said(capsys)
    assert TOKEN not in line["exception"]
    assert line["exception"].endswith("THE END")


def test_a_value_is_cut(capsys: pytest.CaptureFixture[str]):
    """Bodies and foreign text never fill a log."""
    logs.configure()
    structlog.get_logger().info("delivery refused", body="x" * 10_000)
    (line,) = said(capsys)
    assert len(line["body"]) == logs.LIMIT
