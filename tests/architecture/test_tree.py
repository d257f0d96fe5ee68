"""Rules about the repository itself."""

import os
import subprocess
from pathlib import Path

from tests.conftest import ROOT, STRICT, shared_folder


def tracked() -> list[Path]:
    out = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in out.split("\0") if name]


def test_the_outside_material_is_there_where_it_is_required():
    """CI fails rather than skips when corpora and contracts are missing."""
    found = shared_folder()
    assert found is not None or not STRICT, os.environ.get("LOCKGATE_SHARED")


def test_no_file_is_longer_than_its_reader_can_bear():
    """Python files stay below 400 lines; generated ones are exempt."""
    long = {
        str(path.relative_to(ROOT)): count
        for path in tracked()
        if path.suffix == ".py" and "_pb2" not in path.name and path.is_file()
        for count in [path.read_text(encoding="utf-8").count("\n")]
        if count > 400
    }
    assert not long
