"""No Secret's value leaves the cluster in free text (I6, S1)."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.redact import MASK, Scrubber

CANARY = 'p&ss "wörd"/1'


def secret(**fields) -> dict:
    return {"apiVersion": "v1", "kind": "Secret", **fields}


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.mark.parametrize(
    "spelled",
    [
        CANARY,
        encoded(CANARY.encode()),
        encoded(CANARY.encode()).rstrip("="),
        base64.urlsafe_b64encode(CANARY.encode()).decode(),
        CANARY.encode().hex(),
        CANARY.encode().hex().upper(),
        quote(CANARY, safe=""),
        quote_plus(CANARY),
        json.dumps(CANARY)[1:-1],
        json.dumps(CANARY, ensure_ascii=False)[1:-1],
    ],
)
def test_a_known_value_is_masked_in_every_spelling(spelled):
    scrubber = Scrubber.of_secrets([secret(data={"a": encoded(CANARY.encode())})])
    assert scrubber.scrub(f"denied: <{spelled}> is bad") == f"denied: <{MASK}> is bad"


def test_values_of_string_data_lines_of_keys_and_strings_in_json_are_known():
    docker = json.dumps(
        {"auths": {"registry.example": {"password": "hunter2-hunter2", "n": [1, "listed-value"]}}}
    )
    scrubber = Scrubber.of_secrets(
        [
            secret(stringData={"a": "from-string-data", "b": 1}),
            secret(
                data={
                    "k": encoded(b"first-line-of-key\nsecond-line-of-key\n"),
                    "d": encoded(docker.encode()),
                }
            ),
            secret(
                data={
                    "odd": "%%",
                    "broken": encoded(b"{not json"),
                    "bin": encoded(b"\xff\xfe\xfd\xfc\xfb\xfa\xf9"),
                }
            ),
            secret(data=None),
        ]
    )
    for value in (
        "from-string-data",
        "second-line-of-key",
        "hunter2-hunter2",
        "listed-value",
        "fffefdfcfbfaf9",
    ):
        assert value not in scrubber.scrub(f"x {value} y")
    assert "registry.example" in scrubber.scrub("pull registry.example failed")


def test_short_values_do_not_tear_holes():
    scrubber = Scrubber.of_secrets([secret(data={"a": encoded(b"true")})])
    assert scrubber.scrub("paused is true") == "paused is true"


def test_the_longest_value_wins_over_one_inside_it():
    scrubber = Scrubber([b"secret", b"secret-and-more"])
    assert scrubber.scrub("a secret-and-more b") == f"a {MASK} b"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            "fetch https://bot:tok%20en@git.example/x failed",
            f"fetch https://{MASK}@git.example/x failed",
        ),
        ("Authorization: Bearer abc.def-123", f"Authorization: Bearer {MASK}"),
        ("authorization: basic Ym90OnRva2Vu", f"authorization: basic {MASK}"),
        ("token glpat-abcdefgh1234567 used", f"token {MASK} used"),
        ("ghp_abcdefghijklmnopqrstuvwxyz012345", MASK),
        ("github_pat_11ABCDEFG0abcdefghijkl", MASK),
        ("AKIAABCDEFGHIJKLMNOP", MASK),
        ("jwt eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2ln end", f"jwt {MASK} end"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----.", f"{MASK}."),
        ("dsn password=hunter2;x", f"dsn password={MASK};x"),
        (
            "image nginx:1.2 at https://git.example/x@sha",
            "image nginx:1.2 at https://git.example/x@sha",
        ),
        ("Deployment prod/x: 1 of 2 replicas", "Deployment prod/x: 1 of 2 replicas"),
    ],
)
def test_what_looks_like_a_credential_is_masked_and_other_text_is_not(text, clean):
    assert Scrubber().scrub(text) == clean


def test_long_text_is_cut_after_it_was_scrubbed():
    """A value across the cut does not leave its first half behind."""
    scrubber = Scrubber([b"0123456789abcdef"])
    text = "x" * (64 * 1024 - 8) + "0123456789abcdef"
    assert "0123" not in scrubber.scrub(text)


@given(st.binary(min_size=6, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_no_value_survives_whatever_surrounds_it(value, left, right):
    scrubber = Scrubber.of_secrets([secret(data={"a": encoded(value)})])
    for spelled in (encoded(value), value.hex()):
        assert spelled not in scrubber.scrub(f"{left}{spelled}{right}")
