"""Hostile and odd YAML: refused before anything is built, with file and line (Y3 to Y9, Y11, Y15, Y16)."""

import time
import tracemalloc

import pytest

from agent.errors import RenderError
from agent.render.scalars import resolve
from agent.render.yaml import YamlLimits, load_yaml


def load(text: str | bytes, **limits) -> list[dict]:
    data = text if isinstance(text, bytes) else text.encode()
    return [document.value for document in load_yaml(data, "f.yaml", YamlLimits(**limits))]


def refusal(text: str | bytes, **limits) -> str:
    with pytest.raises(RenderError) as err:
        load(text, **limits)
    return err.value.message


def quickest(text: str | bytes) -> float:
    """CPU seconds of the best of three: a neighbour on the machine must not fail the test."""
    times = []
    for _ in range(3):
        start = time.process_time()
        refusal(text)
        times.append(time.process_time() - start)
    return min(times)


MERGE_BOMB = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}], k{i}: [*a{i - 1}, *a{i - 1}]}}\n"
    for i in range(1, 20)
)
WIDE_MERGE_BOMB = (
    "m: &m {"
    + ", ".join(f"k{i}: 1" for i in range(1000))
    + "}\n"
    + "".join(f"n{i}: {{<<: *m}}\n" for i in range(200))
)
LAUGHS = "a: &a [l,l,l,l,l,l,l,l,l]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


def test_a_merge_key_bomb_is_refused_in_no_time():
    """Y3: 19 levels, less than a kilobyte; ruamel takes 14 s."""
    assert "aliases expand to more than" in refusal(MERGE_BOMB)
    assert "aliases expand to more than" in refusal(WIDE_MERGE_BOMB)
    assert quickest(MERGE_BOMB) < 0.1


def test_a_billion_laughs_are_refused():
    """Y4: shared references load at once and explode later."""
    assert refusal(LAUGHS) == "f.yaml:6: aliases expand to more than 100000 nodes"
    assert quickest(LAUGHS) < 0.1


def test_an_anchor_that_contains_itself_is_refused():
    """Y5."""
    assert refusal("x: 1\na: &a [*a]") == "f.yaml:2: anchor &a contains itself"
    assert refusal("&a {b: *a}") == "f.yaml:1: anchor &a contains itself"


@pytest.mark.parametrize("text", ["a: " + "[" * 5000, "a: " + "{a: " * 5000, "- " * 5000 + "x"])
def test_deep_nesting_is_refused_in_no_time(text):
    """Y6."""
    assert refusal(text) == "f.yaml:1: nested more than 512 deep"
    assert quickest(text) < 0.05


@pytest.mark.parametrize(
    "text",
    [
        'a: !!int "x"',
        'a: "\\U00110000"',
        "a: !!timestamp x",
        "a: !!float x",
        "a: !!null x",
        "a: !!bool 1",
        "? !!int x\n: 1",
    ],
)
def test_what_other_parsers_crash_on_is_an_error_with_a_line(text):
    """Y7: ValueError and AttributeError of libraries never reach a user."""
    assert refusal(f"x: 1\n{text}").startswith("f.yaml:2: ")


def test_dates_that_do_not_exist_and_endless_integers_are_text_as_to_kubectl():
    digits = "1" * 5000
    assert load(f"a: 2024-13-45\nb: {digits}") == [{"a": "2024-13-45", "b": digits}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3: key 'a' is already set on line 1"),
        ("x:\n  yes: 1\n  y: 2", "f.yaml:3: key 'true' is already set on line 2"),
        ("a: &k b\nb: 1\n*k : 2", "f.yaml:3: key 'b' is already set on line 2"),
    ],
)
def test_a_duplicate_key_names_both_lines(text, message):
    """Y8: kubectl and PyYAML silently take the last."""
    assert refusal(text) == message


def test_a_merge_may_repeat_keys():
    assert load("a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: {x: 3, <<: *a}")[0]["b"] == {"x": 2}


@pytest.mark.parametrize(
    "text",
    [
        b"a: \x00",
        b'a: "\\0"',
        b'a: "\\x00"',
        b'a: "\\u0000"',
        b'"\\0": 1',
        b'a: "\\ud800"',
        b"a: \x1b",
        b"a: \xe9",
        b"\xff\xfe\x00",
    ],
)
def test_control_characters_and_half_characters_are_refused(text):
    """Y9."""
    assert refusal(text).startswith("f.yaml:1: ")


def test_the_line_of_a_bad_byte_is_found():
    assert refusal(b"a: 1\nb: 2\nc: \xff").startswith("f.yaml:3: not text YAML allows")


def test_harmless_escapes_stay():
    assert load('a: "\\u00e9\\e[0m\\U0001F600"') == [{"a": "é\x1b[0m😀"}]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ("# only a comment", []),
        ("---\n---\n# c\n---\nnull\n---\n~\n...\n", []),
        ("a: 1\n---\n", [{"a": 1}]),
        ("--- # c\na: 1\n--- {b: 2}\n...", [{"a": 1}, {"b": 2}]),
        ("\ufeffa: 1\r\nb: 2\r\n", [{"a": 1, "b": 2}]),
    ],
)
def test_empty_documents_are_skipped(text, values):
    """Y11."""
    assert load(text) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n---\n- x", "f.yaml:3: document 2 is a list, not a Kubernetes object"),
        ("---\n---\ntext", "f.yaml:3: document 2 is a single value, not a Kubernetes object"),
    ],
)
def test_a_document_that_is_no_mapping_is_named_by_its_number(text, message):
    """Y11."""
    assert refusal(text) == message


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("a: !!python/object/apply:os.system [ls]", "!!python/object/apply:os.system"),
        ("a: !reference [x]", "!reference"),
        ("a: !x {b: 1}", "!x"),
        ("a: !vault x", "!vault"),
        ("!vault a: 1", "!vault"),
        ("a: !!binary aGk=", "!!binary"),
        ("a: !!set {b}", "!!set"),
    ],
)
def test_tags_other_than_the_core_ones_are_refused(text, tag):
    """Y15."""
    assert refusal(text) == f"f.yaml:1: tag {tag} is not allowed"


def test_an_endless_line_is_refused_before_it_is_parsed():
    """Y16: 200 MB; memory stays flat."""
    data = b"a: " + b"x" * (200 * 1024 * 1024)
    tracemalloc.start()
    try:
        assert "more than 10485760 allowed" in refusal(data)
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_endless_documents_are_refused():
    """Y16."""
    assert refusal("---\n" * 100_000) == "f.yaml:50001: more than 50000 documents"
    assert refusal("---\n" * 3, documents=2) == "f.yaml:3: more than 2 documents"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [", "did not find expected node content"),
        ("a: b: c", "mapping values are not allowed"),
        ("\tb: c", "cannot start any token"),
        ("a: *x", "alias *x has no anchor before it"),
        ("a: &a 1\n*a : 2", "is no text, so it cannot be a key"),
        ("[a]: 1", "a mapping or list cannot be a key"),
        ("{a: 1}: 1", "a mapping or list cannot be a key"),
        ("~: 1", "null cannot be a key"),
        ("9223372036854775808: 1", "too large for a key"),
        ("a: .inf", "not a value JSON can hold"),
        ("a: {<<: 1}", "<< takes a mapping or a list of mappings"),
        ("a: {<<: [1]}", "<< takes a mapping or a list of mappings"),
        ("!!binary x: 1", "tag !!binary is not allowed"),
    ],
)
def test_broken_yaml_is_an_error_with_a_line(text, part):
    message = refusal(text)
    assert message.startswith("f.yaml:")
    assert part in message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            ("0400", 256),
            ("0o400", 256),
            ("08", 8),
            ("1e3", 1000),
            ("1_000", 1000),
            ("0x1F", 31),
            ("0b-1", -1),
        ),
        *(
            ("y", True),
            ("No", False),
            ("~", None),
            ("12:30:45", "12:30:45"),
            ("2024-01-02", "2024-01-02"),
        ),
        *(
            ("1.0", 1),
            ("1.5", 1.5),
            (".5_0", 0.5),
            ("._5", "._5"),
            ("1e400", "1e400"),
            ("0xg", "0xg"),
            ("-", "-"),
        ),
        *(
            ("18446744073709551616", 1.8446744073709552e19),
            ("-0x8000000000000001", "-0x8000000000000001"),
        ),
    ],
)
def test_scalars_mean_what_kubectl_means(text, value):
    """Y1 in small; the integration test compares thousands with kubectl itself."""
    found = resolve(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        *(
            ("n", "false"),
            ("0xg", "0xg"),
            ("0400", "256"),
            ("1.0", "1"),
            ("1e6", "1e+06"),
            ("1e-5", "1e-05"),
            ("0.1", "0.1"),
        ),
        *(
            ("-.inf", "-.inf"),
            ("1e300", ".inf"),
            ("-1e300", "-.inf"),
            ('"1"', "1"),
            ("!!str 1", "1"),
            ("!!int 0x10", "16"),
        ),
    ],
)
def test_keys_are_spelled_as_kubectl_spells_them(text, key):
    assert load(f"{text}: q") == [{key: "q"}]


def test_explicit_tags_are_honoured():
    text = "a: !!str yes\nb: !!int '3'\nc: !!float 3\nd: ! 1\ne: !!map {x: 1}\nf: !!seq [1]\ng: !!str\nh: !!bool 'no'\ni: !!float 1.5\nj: !!null ''"
    (found,) = load(text)
    assert found == {
        "a": "yes",
        "b": 3,
        "c": 3,
        "d": "1",
        "e": {"x": 1},
        "f": [1],
        "g": "",
        "h": False,
        "i": 1.5,
        "j": None,
    }


def test_aliases_stand_for_their_anchor_in_values_keys_and_documents():
    text = "a: &a x\nb: *a\n&k c: *k\n*a : 1\nd: &d\n  e: 1\nf: *d\n---\na: 1"
    assert load(text)[0] == {"a": "x", "b": "x", "c": "c", "x": 1, "d": {"e": 1}, "f": {"e": 1}}
    assert "no anchor before it" in refusal("a: &a 1\n---\nb: *a")
