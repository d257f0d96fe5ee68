"""What a user installs is the wheel, not the checkout: it must carry everything, and nothing of the sandbox."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's contents, as pip would lay them out."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(unpacked: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the wheel; `-P` and the folder keep the checkout out of sight."""
    return subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
        cwd=unpacked,
        env={"PYTHONPATH": str(unpacked), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_wheel_holds_the_product_and_nothing_else(unpacked: Path):
    top = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"ci_bot", "agent", "protos"}


def test_the_agents_manifests_are_the_checkouts(unpacked: Path):
    packaged = run(unpacked, "agent", "manifests")
    assert packaged.returncode == 0, packaged.stderr
    checkout = subprocess.run(
        [sys.executable, "-m", "agent", "manifests"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert packaged.stdout == checkout.stdout
    assert "kind: CustomResourceDefinition" in packaged.stdout


def test_both_programs_start_from_the_wheel(unpacked: Path):
    for module in ("ci_bot", "agent"):
        done = run(unpacked, module, "--help")
        assert done.returncode == 0, done.stderr


def test_the_hubs_migrations_are_in_the_wheel(unpacked: Path, tmp_path: Path):
    script = (
        "from pathlib import Path\n"
        "from ci_bot.store.database import Database\n"
        f"Database(Path({str(tmp_path / 'hub.db')!r})).migrate()\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=unpacked,
        env={"PYTHONPATH": str(unpacked), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hub.db").stat().st_size > 0
