"""YAML means what kubectl means by it (case Y1): our reading against the real kubectl's, scalar by scalar."""

import json
import random
import subprocess

import pytest

from agent.errors import RenderError
from agent.render.yaml import load_yaml
from sandbox.controlplane.binaries import find_binaries

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"

WRITTEN = """
0644 0o644 0400 0777 0o17 08 09.5 007 00 0 -0 +1 1_000 1__0 0_7 1_000_ _1 1_000.5 0x1F 0X1F
-0x1F +0x1F 0x_1F 0x 0xg 0b101 0B1 0b2 0b-1 0b+1 -0b101 +0b1 -0b-1 0O7 0o8 0o 0o-7 1e3 1E5 1e
1.e3 .e3 12e03 -1e3 1_0e3 1e400 -1e400 1e-400 .1e400 .5 .5e1_0 .5e_1 .5_ .5__0 .5_0e1 +.5 -.5 ._5 .5_0 5. 1.0 100.0 1.5
-0.0 0.1e1 1e20 1e21 1e-7 9.2e18 1e18 4.9e-324 1.7976931348623157e308 0x1p3
9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809
18446744073709551615 18446744073709551616 +9223372036854775808 0xffffffffffffffff
0x1ffffffffffffffff 07777777777777777777777777 -0x8000000000000000
123456789012345678901234567890 123456789.123456789 9223372036854775807.0
0b1111111111111111111111111111111111111111111111111111111111111111 y Y yes Yes YES yEs n N no
No NO nO on On ON oN off Off OFF oFF true True TRUE tRUE false False FALSE ~ null Null NULL
nULL 2024-01-02 2024-13-45 2001-12-14t21:59:43.10-05:00 2001-12-14T21:59:43Z 12:30:45 1:30
190:20:30 1:30.5 0:0 Inf inf infinity NaN nan .in .na + - -- ++ -x 1.2.3 1.10 v1 1.0.0-rc1
10m 1Gi 1k 50% = <<x a-b a/b registry/app:1.2 e3 x0 0e0 00.5 -00 +0 -+1 0x-1 1e+3 1e+ 1e-
1e3.0 .0 . .. ... 0.0 1. -1. +1. -.5e3 1,000 1,2
"""
TAGGED = [
    *(
        "!!str 1",
        "!!str yes",
        '!!int "3"',
        "!!int 0644",
        "!!float 3",
        "!!float 1e3",
        "!!bool yes",
        '!!bool "no"',
    ),
    *(
        "! 1",
        "! yes",
        "'1'",
        '"1"',
        "'yes'",
        '"0644"',
        '"\\u00e9"',
        '"a\\tb"',
        "'it''s'",
        "!!null ~",
        "!!str",
    ),
]
REFUSED = [
    *(
        ".inf",
        "-.inf",
        "+.INF",
        ".nan",
        ".NaN",
        "!!int x",
        "!!null x",
        "!!bool x",
        "!!float x",
        "!!int 3.5",
    ),
    *(
        '"\\ud800"',
        '"\\U00110000"',
        "{<<: 3}",
        "{<<: [3]}",
        "{<<: [[{a: 1}]]}",
        "{~: 1}",
        "{[a]: 1}",
    ),
    *("{9223372036854775808: 1}", "*nowhere", "[", "&a [*a]"),
]
STRUCTURES = [
    *(
        "{a: 1, <<: {a: 2, b: 3}}",
        "{<<: {a: 2, b: 3}, a: 1}",
        "{<<: [{a: 2, b: 3}, {a: 4, c: 5}]}",
        '{"<<": {a: 2}}',
    ),
    *(
        "{<<: {a: 1}, <<: {a: 2}}",
        '{!!merge "<<": {a: 1}}',
        "{? a}",
        "[&x 0400, *x]",
        "{a: &x y, b: *x}",
    ),
    *(
        "{a: &m {x: yes, <<: {y: 1}}, b: {<<: *m, z: 1e3}}",
        "{&k key: 1, other: *k}",
        "|\n    a\n    b\n",
        ">-\n    a\n    b",
    ),
    *(
        "{1e6: a, 1234567.0: b, 0.1: c, 1e-5: d, 16777217.0: e, 1e22: f, 123456.7: g, -0.0: h, 0.3: i, 1e300_: j}",
    ),
    *(
        "{3.4e38: a, 1e-45: b, 100000.0: c, 999999.5: d, 0.0001: e, 1.5e10: f}",
        "[[], {}, '', ~]",
        "{.inf: 1, -.INF: 2, +.Inf_: 3, .NaN: 4}",
        "!!map {a: 1}",
    ),
]


@pytest.fixture(scope="module")
def kubectl() -> str:
    path = find_binaries().get("kubectl")
    if path is None:
        pytest.skip("kubectl not found; run `python -m sandbox.controlplane fetch`")
    return str(path)


def read_by_kubectl(kubectl: str, text: str) -> dict | None:
    """What kubectl makes of a manifest; None where it refuses."""
    done = subprocess.run(  # noqa: PLW1510 - the code is the answer
        [kubectl, "annotate", "--local", "-o", "json", "-f", "-", "zz=1"],
        input=text.encode(),
        capture_output=True,
        timeout=60,
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def read_by_us(text: str) -> dict | None:
    try:
        (document,) = load_yaml(text.encode(), "x.yaml")
    except RenderError:
        return None
    return json.loads(json.dumps(document.value))


def shape(value):
    """A value with its types, so that true is not 1; whole floats and integers are the same number in JSON."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return ("int", int(value))
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return ("int", int(float(value)))  # kubectl prints the float's nearest short decimal
    return (type(value).__name__, value)


def generated(count: int) -> list[str]:
    """Scalars of the characters that numbers, booleans and dates are made of."""
    chance = random.Random(20261124)
    pool = "0123456789" * 2 + "__..++--eEexXbBooynf"
    found: dict[str, None] = {}
    while len(found) < count:
        text = "".join(chance.choice(pool) for _ in range(chance.randint(1, 7)))
        if not text.startswith(("-", ".")) or len(text) > 2:
            found[text] = None
    return list(found)


def scalars() -> list[str]:
    return [
        text for text in [*WRITTEN.split(), *generated(600)] if text not in {"-", "--", "...", "<<"}
    ]


def test_every_scalar_means_the_same_to_kubectl_in_every_position(kubectl):
    """At least 500 scalars as block value, list item, flow value, flow item and through an alias: no difference."""
    accepted = [text for text in scalars() if read_by_us(f"a: {text}") is not None]
    assert len(accepted) >= 500
    flow = [text for text in accepted if "," not in text]
    lines = ["spec:", "  block:"]
    lines += [f"    k{i}: {text}" for i, text in enumerate(accepted)]
    lines += ["  list:"] + [f"  - {text}" for text in accepted]
    lines += ["  flow: {" + ", ".join(f"k{i}: {text}" for i, text in enumerate(flow)) + " }"]
    lines += ["  items: [" + ", ".join(flow) + " ]"]
    lines += ["  anchors:"] + [f"    k{i}: &a{i} {text}" for i, text in enumerate(accepted)]
    lines += ["  aliases:"] + [f"    k{i}: *a{i}" for i in range(len(accepted))]
    text = HEAD + "\n".join(lines) + "\n"
    theirs, ours = read_by_kubectl(kubectl, text), read_by_us(text)
    assert theirs is not None
    assert ours is not None
    for part in ("block", "list", "flow", "items", "anchors", "aliases"):
        assert shape(ours["spec"][part]) == shape(theirs["spec"][part])


def test_every_key_is_spelled_as_kubectl_spells_it(kubectl):
    """Keys go through the resolver too: `n:` is "false", `0400:` is "256"."""
    spelled: dict[str, str] = {}
    for text in scalars():
        read = read_by_us(f"{text}: 1") if "," not in text else None
        if read is not None:
            spelled.setdefault(next(iter(read)), text)
    assert len(spelled) >= 300
    text = HEAD + "spec:\n" + "".join(f"  {key}: q\n" for key in spelled.values())
    theirs = read_by_kubectl(kubectl, text)
    assert theirs is not None
    assert set(theirs["spec"]) == set(spelled)


@pytest.mark.parametrize("value", [*TAGGED, *STRUCTURES])
def test_tags_quotes_and_merges_mean_the_same_to_kubectl(kubectl, value):
    text = f"{HEAD}spec:\n  a: {value}\n"
    theirs, ours = read_by_kubectl(kubectl, text), read_by_us(text)
    assert theirs is not None
    assert ours is not None
    assert shape(ours["spec"]) == shape(theirs["spec"])


@pytest.mark.parametrize("value", REFUSED)
def test_what_kubectl_refuses_is_refused_with_a_line(kubectl, value):
    text = f"{HEAD}spec:\n  a: {value}\n"
    assert read_by_kubectl(kubectl, text) is None
    with pytest.raises(RenderError, match=r"^x\.yaml:[45]: |^x\.yaml:6: "):
        load_yaml(text.encode(), "x.yaml")


def test_every_manifest_of_the_seed_and_of_the_corpora_reads_the_same(kubectl, shared):
    """Real files, document by document as one stream."""
    paths = sorted((shared / "seed").glob("*.yaml"))
    paths += [*sorted((shared / "corpora" / "files").rglob("*.yaml"))[:400]]
    compared = 0
    for path in paths:
        data = path.read_bytes()
        try:
            ours = load_yaml(data, path.name)
        except RenderError:
            continue
        if len(ours) != 1 or not {"apiVersion", "kind", "metadata"} <= ours[0].value.keys():
            continue
        if compared == 40:
            break
        theirs = read_by_kubectl(kubectl, data.decode())
        if theirs is None:
            continue  # a kind or a file that `annotate` does not take
        theirs["metadata"]["annotations"].pop("zz")
        if not theirs["metadata"]["annotations"]:
            del theirs["metadata"]["annotations"]
        mine = json.loads(json.dumps(ours[0].value))
        assert shape(mine) == shape(theirs), path
        compared += 1
    assert compared >= 20
