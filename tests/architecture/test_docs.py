"""What the documents say is what there is."""

import importlib.util
import re

from tests.conftest import ROOT


def test_the_command_reference_is_what_help_says():
    """`make docs` writes it; a changed option without it fails here."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    written = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert written == generate.render(), "run: make docs"


def test_every_link_inside_the_documents_leads_somewhere():
    link = re.compile(r"\]\((?!https?:|#)([^)#]+)")
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for target in link.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not broken


def test_make_help_lists_at_most_twelve_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?m)^[a-z-]+:.*## ", makefile)
    assert 8 <= len(targets) <= 12
