"""A log line never carries a credential, whoever wrote it there."""

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from agent.logs import Redaction, configure_logs

TOKENS = [
    "glpat-AbCdEf0123456789",
    "ghp_0123456789abcdefABCDEF",
    "github_pat_0123456789abcdefABCDEF",
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl",
]


@pytest.fixture
def out():
    root = logging.getLogger()
    kept = (list(root.handlers), root.level, logging.getLogger("agent").level)
    yield io.StringIO()
    structlog.reset_defaults()
    root.handlers[:], root.level = kept[0], kept[1]
    logging.getLogger("agent").setLevel(kept[2])


@given(st.text(max_size=20), st.sampled_from(TOKENS), st.text(max_size=20))
def test_what_looks_like_a_token_is_masked_anywhere(before, token, after):
    text = Redaction().mask(f"{before} {token} {after}")
    assert token not in text


def test_events_exceptions_and_foreign_loggers_are_masked(out):
    """Keys, nested values, tracebacks and the libraries' own loggers go through the same mask."""
    redaction = configure_logs(out)
    redaction.know(["canary-plain-value"])
    log = structlog.get_logger("agent.test").bind(application="argocd/a", revision="r1")
    log.info(
        "tested", url="https://u:canary-plain-value@h/x", nested={"token": "abc", "n": [TOKENS[0]]}
    )
    try:
        raise ValueError(f"Authorization: Bearer {TOKENS[3]} canary-plain-value")  # noqa: TRY301
    except ValueError:
        log.exception("crashed")
    logging.getLogger("urllib3").warning("retry https://root:hunter2secret@h/ with %s", TOKENS[1])
    text = out.getvalue()
    for secret in (*TOKENS[:2], TOKENS[3], "canary-plain-value", "hunter2secret"):
        assert secret not in text
    first = json.loads(text.splitlines()[0])
    assert first["event"] == "tested"
    assert (first["application"], first["revision"]) == ("argocd/a", "r1")
    assert first["nested"]["token"] == "***"
    assert "ValueError" in text


def test_lines_are_json_unless_a_person_looks(out):
    configure_logs(out)
    structlog.get_logger("agent.test").warning("told", count=3, ok=True)
    line = json.loads(out.getvalue())
    assert (line["level"], line["count"], line["ok"], line["logger"]) == (
        "warning",
        3,
        True,
        "agent.test",
    )
