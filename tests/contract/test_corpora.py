"""Bumps judged on real files: every listed span of the kinds a bump must edit, and no other byte (decision 24).

The corpora's index says to the character where each image reference stands. It is an oracle that shares nothing with
the editor: the expected file is the original with exactly those spans replaced.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ci_bot.core.edits import FileBump, Wanted, bump_file
from ci_bot.core.images import parse_name
from ci_bot.errors import CiBotError, UsageError

TAG = "9.9.9-corpus"
# Kinds a bump must edit: the scalar that holds the tag, by the field it stands in (None: one string for all).
EDITED = {
    ("container", None),
    ("init_container", None),
    ("cronjob_container", None),
    ("cronjob_init_container", None),
    ("cr_container", None),
    ("embedded_container", None),
    ("values_container", None),
    ("kustomize_images", "newTag"),
    ("helm_values_map", "tag"),
    ("helmrelease_values_map", "tag"),
}
# Kinds a bump must leave and report with file and line.
LEFT = {
    "ci_config_image",
    "compose_service",
    "skaffold_artifact",
    "tekton_or_argo_step",
    "trap_not_container_image",
    "cr_image_field",
    "cr_or_values_image_key",
}
# A flat `image: name` in a values file is edited where it can only be an image, else left.
EITHER = {"helm_values_flat"}


@dataclass(frozen=True, slots=True)
class Case:
    """One image in one file."""

    path: str
    image: str
    data: bytes
    refs: tuple[dict[str, Any], ...]

    def bump(self, **more: Any) -> FileBump:
        return bump_file(
            self.path, self.data, Wanted(image=parse_name(self.image), tag=TAG, **more)
        )


def load_cases(shared: Path) -> list[Case]:
    cases = []
    for line in (shared / "corpora" / "index.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        data = (shared / "corpora" / entry["file"]).read_bytes()
        by_image: dict[str, list[dict[str, Any]]] = {}
        for ref in entry["image_refs"]:
            if ref.get("image") and "template_expr" not in ref["flags"]:
                by_image.setdefault(ref["image"], []).append(ref)
        cases += [Case(entry["path"], image, data, tuple(r)) for image, r in by_image.items()]
    return cases


@pytest.fixture(scope="module")
def cases(shared: Path) -> list[Case]:
    return load_cases(shared)


def is_edited(ref: dict[str, Any]) -> bool:
    return (ref["kind"], ref.get("field")) in EDITED


def expected_token(ref: dict[str, Any]) -> str:
    """Return the scalar's source text with only the tag replaced, in its own quotes."""
    token, tag = ref["token"], ref.get("tag")
    if ref.get("field") in {"tag", "newTag"}:
        return f'"{TAG}"' if token.startswith('"') else f"'{TAG}'" if token.startswith("'") else TAG
    if tag:
        return token[: token.rindex(tag)] + TAG + token[token.rindex(tag) + len(tag) :]
    close = token[-1] if token[-1] in "\"'" else ""
    return f"{token[: len(token) - len(close)]}:{TAG}{close}"


def splice(case: Case, refs: list[dict[str, Any]]) -> bytes:
    text = case.data.decode()
    for ref in sorted(refs, key=lambda ref: -ref["char_start"]):
        assert text[ref["char_start"] : ref["char_end"]] == ref["token"]
        text = text[: ref["char_start"]] + expected_token(ref) + text[ref["char_end"] :]
    return text.encode()


def is_pinned(case: Case) -> bool:
    return any("sha256:" in ref["token"] or ref.get("field") == "digest" for ref in case.refs)


def test_every_span_of_an_editable_kind_changes_and_no_other_byte(cases: list[Case]):
    """The heart of the bump, on 60 real files."""
    changed = 0
    for case in cases:
        refs = [ref for ref in case.refs if is_edited(ref)]
        if not refs or is_pinned(case) or is_refused(case):
            continue
        assert case.bump().data == splice(case, refs), (case.path, case.image)
        changed += len(refs)
    assert changed >= 40


def is_refused(case: Case) -> bool:
    """A duplicate key makes a file unsafe to edit; the one such file of the corpora is refused with both lines."""
    return case.path.endswith("openshift-controller.yaml")


def test_a_file_with_a_duplicate_key_is_refused_with_both_lines(cases: list[Case]):
    """Y8."""
    (case,) = [case for case in cases if is_refused(case)]
    with pytest.raises(CiBotError, match=r"openshift-controller\.yaml:12: .*line 8"):
        case.bump()


def test_a_pinned_digest_is_refused_with_file_and_line(cases: list[Case]):
    """D19: with the tag alone the old image would go on being deployed."""
    pinned = [case for case in cases if is_pinned(case) and any(map(is_edited, case.refs))]
    assert len(pinned) >= 4
    for case in pinned:
        with pytest.raises(UsageError) as caught:
            case.bump()
        assert re.match(r".+:\d+: pins sha256:", caught.value.message)


def test_a_new_digest_goes_beside_the_new_tag(cases: list[Case]):
    digest = "sha256:" + "ab" * 32
    for case in cases:
        if not is_pinned(case) or not any(ref["kind"] == "container" for ref in case.refs):
            continue
        bumped = case.bump(digest=digest)
        assert f"{case.image}:{TAG}@{digest}".encode() in bumped.data or (
            f"@{digest}".encode() in bumped.data and TAG.encode() in bumped.data
        )
        assert len(bumped.edits) == len(case.refs)


def test_other_kinds_are_left_as_they_are_and_reported(cases: list[Case]):
    """D24: compose, skaffold, CI files and traps are a person's to judge."""
    reported = 0
    for case in cases:
        lines = {ref["line"] for ref in case.refs if ref["kind"] in LEFT}
        if not lines:
            continue
        bumped = case.bump()
        assert lines <= {left.line for left in bumped.left}, (case.path, case.image)
        assert not lines & {edit.line for edit in bumped.edits}
        assert all(left.why for left in bumped.left)
        reported += len(lines)
    assert reported >= 30


def test_what_is_edited_or_left_is_what_the_index_lists(cases: list[Case]):
    """Nothing the index does not know is touched, and nothing it lists is passed over in silence."""
    for case in cases:
        if is_pinned(case) or is_refused(case):
            continue
        bumped = case.bump()
        listed = {ref["line"] for ref in case.refs}
        assert {edit.line for edit in bumped.edits} <= listed, (case.path, case.image)
        told = {each.line for each in (*bumped.edits, *bumped.left)}
        must = {r["line"] for r in case.refs if is_edited(r) or r["kind"] in LEFT | EITHER}
        assert must <= told, (case.path, case.image)


def test_bumping_twice_is_bumping_once(cases: list[Case]):
    for case in cases:
        if is_pinned(case) or is_refused(case):
            continue
        once = case.bump()
        again = bump_file(case.path, once.data, Wanted(image=parse_name(case.image), tag=TAG))
        assert again.data == once.data
        assert not again.edits


def test_every_kind_of_the_index_is_decided_on(shared: Path):
    """A kind nobody thought of would be tested by nobody."""
    kinds = {
        ref["kind"]
        for line in (shared / "corpora" / "index.jsonl").read_text().splitlines()
        for ref in json.loads(line)["image_refs"]
        if ref.get("image") and "template_expr" not in ref["flags"]
    }
    assert kinds <= {kind for kind, _ in EDITED} | LEFT | EITHER
