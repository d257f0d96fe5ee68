"""Plain directories: which files count, what is refused, what a push costs (contract: directory; R1, Y16)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from agent.core.application import DirectoryOptions
from agent.errors import RenderError
from agent.render.plain import PlainLimits, PlainRenderer
from agent.render.port import Rendered, RenderRequest
from agent.source.port import TreeFile

OBJECT = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"


@dataclass
class Tree:
    """Files by path, and a record of which blobs were read."""

    files: dict[str, bytes]
    modes: dict[str, int] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)

    def request(self, **options) -> RenderRequest:
        files = [
            TreeFile(
                path=path,
                oid=f"oid-{hash(data)}",
                mode=self.modes.get(path, 0o100644),
                size=len(data),
            )
            for path, data in self.files.items()
        ]
        blobs = {file.oid: self.files[file.path] for file in files}

        def read(oids: Sequence[str]) -> dict[str, bytes]:
            self.read.extend(oids)
            return {oid: blobs[oid] for oid in oids}

        directory = DirectoryOptions(**options)
        return RenderRequest(files=files, read_blobs=read, app_name="shop", directory=directory)


def render(files: dict[str, bytes], modes: dict[str, int] | None = None, **options) -> Rendered:
    return PlainRenderer().render(Tree(files, modes or {}).request(**options))


def origins(rendered: Rendered) -> list[str]:
    return [item.origin for item in rendered.objects]


def refusal(files: dict[str, bytes], modes: dict[str, int] | None = None, **options) -> str:
    with pytest.raises(RenderError) as err:
        render(files, modes, **options)
    return err.value.message


def test_every_manifest_of_the_directory_is_read_in_the_order_of_paths():
    files = {
        "b.yml": OBJECT + b"---\n" + OBJECT,
        "a.yaml": b"\n" + OBJECT,
        "c.json": b'{"apiVersion": "v1"}',
        "README.md": b"- x",
    }
    found = render(files)
    assert origins(found) == ["a.yaml:2", "b.yml:1", "b.yml:5", "c.json:1"]
    assert found.source_type == "Directory"
    assert found.objects[3].manifest == {"apiVersion": "v1"}


def test_folders_below_count_only_with_recurse():
    files = {"a.yaml": OBJECT, "sub/b.yaml": OBJECT}
    assert origins(render(files)) == ["a.yaml:1"]
    assert origins(render(files, recurse=True)) == ["a.yaml:1", "sub/b.yaml:1"]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"include": "a*"}, ["a.yaml", "ab.yaml"]),
        ({"exclude": "*b*"}, ["a.yaml", "c.yaml"]),
        ({"include": "{a,c}.yaml"}, ["a.yaml", "c.yaml"]),
        ({"include": "*.yaml", "exclude": "{a*,c*}"}, ["sub/b.yaml"]),
        ({"include": "sub/*"}, ["sub/b.yaml"]),
    ],
)
def test_globs_choose_files(options, kept):
    files = dict.fromkeys(["a.yaml", "ab.yaml", "c.yaml", "sub/b.yaml"], OBJECT)
    assert origins(render(files, recurse=True, **options)) == [f"{path}:1" for path in kept]


def test_a_glob_with_endless_alternatives_is_refused():
    assert "more than 64 alternatives" in refusal({"a.yaml": OBJECT}, include="{a,b}" * 10)


@pytest.mark.parametrize(
    ("path", "tool"),
    [
        ("Chart.yaml", "Helm"),
        ("kustomization.yaml", "Kustomize"),
        ("kustomization.yml", "Kustomize"),
        ("Kustomization", "Kustomize"),
    ],
)
def test_directories_of_other_tools_are_named(path, tool):
    assert refusal({"a.yaml": OBJECT, path: b""}) == f"{path}: {tool} is not supported yet"


@pytest.mark.parametrize("path", [".argocd-source.yaml", ".argocd-source-shop.yaml"])
def test_parameter_overrides_are_named(path):
    assert refusal({path: b""}) == f"{path}: parameter overrides are not supported yet"


def test_a_chart_in_a_folder_below_is_no_chart_here():
    assert origins(render({"a.yaml": OBJECT, "charts/Chart.yaml": b"x"})) == ["a.yaml:1"]


def test_links_and_submodules_are_refused_where_a_manifest_could_be_behind_them():
    """R1."""
    link, module = {"x.yaml": 0o120000}, {"x": 0o160000}
    assert refusal({"x.yaml": b"/proc/self/environ"}, link) == "x.yaml: symbolic links are refused"
    assert refusal({"x": b""}, {"x": 0o120000}, recurse=True) == "x: symbolic links are refused"
    assert refusal({"x": b""}, module, recurse=True) == "x: submodules are refused"
    assert render({"x": b"", "a.yaml": OBJECT}, module).objects
    assert render({"LICENSE": b"../LICENSE", "a.yaml": OBJECT}, {"LICENSE": 0o120000}).objects


def test_jsonnet_is_named():
    assert refusal({"a.jsonnet": b"{}"}) == "a.jsonnet: Jsonnet is not supported yet"


def test_a_bad_file_is_named_with_its_line_and_nothing_is_rendered():
    assert refusal({"a.yaml": OBJECT, "b.yaml": b"a: 1\na: 2"}).startswith("b.yaml:2: key 'a'")


def test_a_file_that_asks_to_be_skipped_is_skipped():
    skipped = b"# +argocd:skip-file-rendering\nnot: {{ yaml"
    mentioned = OBJECT + b'data: {a: "+argocd:skip-file-rendering"}\n'
    assert origins(render({"a.yaml": skipped, "b.yaml": mentioned})) == ["b.yaml:1"]


def test_json_may_write_characters_as_surrogate_pairs():
    r"""JSON has no other way; an escaped backslash before it is no escape."""
    found = render(
        {"a.json": rb'{"a": "\ud83d\ude00", "b": "\\ud83d", "c": "\\\ud83d\ude00\u00e9"}'}
    )
    assert found.objects[0].manifest == {"a": "😀", "b": "\\ud83d", "c": "\\😀é"}
    assert refusal({"a.json": rb'{"a": "\ud83d"}'}).startswith("a.json:1: ")


def test_a_push_costs_what_it_changed():
    """Documents are kept by blob id; errors are not."""
    renderer = PlainRenderer()
    first = Tree({"a.yaml": OBJECT, "b.yaml": OBJECT + b"data: {}\n", "copy.yaml": OBJECT})
    renderer.render(first.request())
    assert len(first.read) == 2
    again = Tree({**first.files, "a.yaml": OBJECT + b"immutable: true\n"})
    renderer.render(again.request())
    assert len(again.read) == 1
    unchanged = Tree(again.files)
    assert len(renderer.render(unchanged.request()).objects) == 3
    assert unchanged.read == []


def test_the_cache_is_bounded_by_the_bytes_it_stands_for():
    renderer = PlainRenderer(PlainLimits(cache_bytes=len(OBJECT) + 5))
    files = {"a.yaml": OBJECT, "b.yaml": OBJECT + b"# b\n"}
    both, kept, dropped = Tree(files), Tree({"b.yaml": files["b.yaml"]}), Tree({"a.yaml": OBJECT})
    assert len(renderer.render(both.request()).objects) == 2
    renderer.render(kept.request())
    renderer.render(dropped.request())
    assert (len(both.read), len(kept.read), len(dropped.read)) == (2, 0, 1)


def test_a_large_directory_is_refused_before_a_byte_is_read():
    """Y16."""
    tree = Tree({"a.yaml": OBJECT, "b.yaml": OBJECT})
    with pytest.raises(RenderError, match=r"^b.yaml: the manifests up to this one have 102 bytes"):
        PlainRenderer(PlainLimits(total_bytes=100)).render(tree.request())
    with pytest.raises(RenderError, match="more than 1 manifests"):
        PlainRenderer(PlainLimits(files=1)).render(tree.request())
    assert tree.read == []


def test_the_seeds_directory_renders(shared):
    files = {path.name: path.read_bytes() for path in (shared / "seed").glob("*.yaml")}
    kinds = {item.manifest["kind"] for item in render(files).objects}
    assert kinds == {"Application", "Deployment", "Service"}
