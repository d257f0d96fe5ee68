"""A bump of one file: laws first, then the bad input that must be refused before anything is built."""

import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ci_bot.core.edits import FileBump, Wanted, bump_file
from ci_bot.core.images import check_tag, parse_name
from ci_bot.errors import CiBotError, ManifestError, UsageError

IMAGE = "registry.example/team/app"
MANIFEST = """\
# a comment   with  odd   spacing
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app}}
spec:
    template:
        spec:
            containers:
            -   name: app          # the app
                image: {quote}{image}:{tag}{quote}   # keep me
            -   name: sidecar
                image: busybox:1
"""


def bump(text: str | bytes, tag: str = "1.2", **more: object) -> FileBump:
    data = text.encode() if isinstance(text, str) else text
    return bump_file("dev/app.yaml", data, Wanted(image=parse_name(IMAGE), tag=tag, **more))


TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
AWKWARD = ["on", "off", "y", "n", "yes", "NO", "null", "1.10", "0777", "1e3", "12", "2024-01-02"]
ANY_TAG = TAGS | st.sampled_from(AWKWARD)


@given(ANY_TAG, ANY_TAG, st.sampled_from(["", '"', "'"]), st.sampled_from(["\n", "\r\n"]))
def test_only_the_bytes_of_the_tag_change(old: str, new: str, quote: str, newline: str):
    """Comments, spacing, quotes and line ends stay; a whole reference is a string whatever its tag."""
    text = MANIFEST.format(image=IMAGE, tag=old, quote=quote).replace("\n", newline)
    expected = MANIFEST.format(image=IMAGE, tag=new, quote=quote).replace("\n", newline)
    assert bump(text, new).data == expected.encode()


@given(ANY_TAG, ANY_TAG)
def test_bumping_twice_is_bumping_once(old: str, new: str):
    once = bump(MANIFEST.format(image=IMAGE, tag=old, quote=""), new)
    again = bump(once.data, new)
    assert again.data == once.data
    assert not again.edits


KUSTOMIZE = "kind: Kustomization\nimages:\n- name: {image}\n  newTag: {tag}\n"


@given(ANY_TAG)
def test_a_tag_that_stands_alone_reads_as_the_string_it_is(tag: str):
    """Y2: quotes are added exactly where the plain text would be read as something else."""
    before = KUSTOMIZE.format(image=IMAGE, tag="v1")
    after = bump(before, tag).data.decode()
    assert yaml.safe_load(after)["images"][0]["newTag"] == tag
    written = after.rpartition("newTag: ")[2].strip()
    assert written in {tag, f'"{tag}"'}


@pytest.mark.parametrize("tag", ["on", "off", "y", "n", "yes", "NO", "12:30:45", "1.10", "0o17"])
def test_words_and_numbers_are_quoted(tag: str):
    """Y2: PyYAML and kubectl read these as booleans and numbers."""
    if ":" in tag:
        with pytest.raises(UsageError):
            check_tag(tag)
        return
    assert f'newTag: "{tag}"'.encode() in bump(KUSTOMIZE.format(image=IMAGE, tag="v1"), tag).data


@pytest.mark.parametrize(
    "frame",
    ["\ufeff{}", "---\n{}...\n", "{}---\nkind: List\nitems: []\n", "# only\n---\n{}"],
)
def test_what_stands_around_a_document_stays(frame: str):
    """Y10, Y13: BOM, document marks, other documents."""
    text = frame.format(MANIFEST.format(image=IMAGE, tag="1.0", quote=""))
    expected = frame.format(MANIFEST.format(image=IMAGE, tag="1.2", quote=""))
    assert bump(text).data == expected.encode()


def test_a_missing_final_newline_stays_missing():
    text = MANIFEST.format(image=IMAGE, tag="1.0", quote="").rstrip("\n")
    assert bump(text).data == text.replace(":1.0", ":1.2").encode()


SHAPES = {
    "cron job": 'kind: CronJob\nspec: {{jobTemplate: {{spec: {{template: {{spec: {{containers: [{{image: "{0}"}}]}}}}}}}}}}\n',
    "init": "kind: Pod\nspec:\n  initContainers:\n  - image: {0}\n",
    "ephemeral": "kind: Pod\nspec:\n  ephemeralContainers:\n  - image: {0}\n",
    "list": "kind: List\nitems:\n- kind: Pod\n  spec:\n    containers:\n    - image: {0}\n",
    "custom": "kind: Rollout\nspec:\n  template:\n    spec:\n      containers:\n      - image: {0}\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_of_pod_template_is_found(shape: str):
    before = SHAPES[shape].format(f"{IMAGE}:1.0")
    assert bump(before).data.decode() == SHAPES[shape].format(f"{IMAGE}:1.2")


def test_helm_values_by_registry_repository_and_tag():
    text = "image:\n  registry: registry.example\n  repository: team/app\n  tag: 1.0.0  # bot\n"
    assert bump(text, "1.2.0").data.decode() == text.replace("1.0.0", "1.2.0")


def test_another_image_of_a_similar_name_is_not_ours():
    for name in (f"{IMAGE}-worker", f"x{IMAGE}", "team/app", "other.example/team/app"):
        text = MANIFEST.format(image=name, tag="1.0", quote="")
        assert not bump(text).edits, name


@pytest.mark.parametrize("target", ["&tag {}:1.0", "&tag '{}:1.0'"])
def test_a_tag_that_others_share_by_alias_is_refused_with_its_consumers(target: str):
    """Y14: editing it would change what nobody asked for."""
    text = f"kind: Pod\nspec:\n  containers:\n  - image: {target.format(IMAGE)}\n  - image: *tag\n"
    try:
        bumped = bump(text)
    except CiBotError as err:
        assert "5" in err.message  # noqa: PT017 - refusing and leaving are both safe
    else:
        assert not bumped.edits
        assert {left.line for left in bumped.left} >= {4}


@pytest.mark.parametrize("tag", ["1.2 ", "a b", "", "-x", "x" * 129, "1.2\n", "é", "a/b", "a:b"])
def test_what_no_registry_would_take_is_no_tag(tag: str):
    """Y9."""
    with pytest.raises(UsageError):
        check_tag(tag)


def pod(line: str) -> str:
    return f"kind: Pod\n{line}\nspec:\n  containers:\n  - image: {IMAGE}:1.0\n"


def merge_bomb(levels: int) -> str:
    lines = ["a0: &a0 {k: 1}"]
    lines += [
        f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}, <<: *a{n - 1}}}" for n in range(1, levels)
    ]
    return "\n".join(lines)


BAD = {
    "Y3 merge bomb": pod(merge_bomb(22)),
    "Y4 laughs": pod("a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]" for n in range(8)
    )),
    "Y5 itself": pod("a: &a [*a]"),
    "Y6 depth": pod("a: " + "[" * 5000),
    "Y8 duplicate": pod("metadata: {}\nmetadata: {}"),
    "Y9 control": pod("a: \x01"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_unsafe_to_read_is_refused_at_once_with_its_place(name: str):
    """Y3 to Y9: before anything is built from it, with file and line."""
    begun = time.monotonic()
    with pytest.raises(ManifestError, match=r"^dev/app\.yaml:\d+"):
        bump(BAD[name])
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    "line", ['a: "\\ud800"', 'a: "\\U00110000"', "a: !!int x", "a: !!timestamp x", "a: 2024-13-45"]
)
def test_scalars_that_crash_readers_do_not_crash_a_bump(line: str):
    """Y7: left or refused by us, or none of our business; never a foreign exception."""
    try:
        bump(pod(line))
    except CiBotError as err:
        assert "dev/app.yaml" in err.message  # noqa: PT017 - not raising is right for most


def test_utf_16_is_named_not_garbled():
    """Y10."""
    text = MANIFEST.format(image=IMAGE, tag="1.0", quote="")
    with pytest.raises(ManifestError, match="UTF-8"):
        bump(text.encode("utf-16"))


def test_a_huge_file_is_left_unread():
    """Y16."""
    text = pod("a: 1") + "# " + "x" * 11_000_000
    (left,) = bump(text).left
    assert "not read" in left.why


def test_a_template_that_is_no_yaml_is_left_and_reported():
    text = f"spec:\n  {{{{ if x }}}}\n  containers:\n  - image: {IMAGE}:1.0\n"
    bumped = bump(text)
    assert bumped.data == text.encode()
    assert bumped.left


def test_a_tag_beside_a_pinned_digest_is_refused_and_can_be_told_what_to_do():
    """D19."""
    digest = "sha256:" + "0" * 64
    text = MANIFEST.format(image=IMAGE, tag=f"1.0@{digest}", quote="")
    with pytest.raises(UsageError, match=r"dev/app\.yaml:10: pins"):
        bump(text)
    dropped = bump(text, drop_digest=True).data.decode()
    assert f"{IMAGE}:1.2 " in dropped
    new = "sha256:" + "1" * 64
    assert f"{IMAGE}:1.2@{new} ".encode() in bump(text, digest=new).data
