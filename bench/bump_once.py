"""What `lockgate bump` does between its start and its push, in a process of its own; prints the seconds spent fetching."""

import sys
import time
from pathlib import Path

from ci_bot.core.edits import Wanted, bump_file
from ci_bot.core.images import parse_name
from ci_bot.repo.git import Git
from ci_bot.repo.workspace import NewCommit, Workspace

IMAGE = "registry.example/team/app0"


def main(url: str, path: str) -> None:
    wanted = Wanted(image=parse_name(IMAGE), tag="1.2")
    with Workspace.open(url, Git(folder=Path(), protocols="file")) as workspace:
        begun = time.perf_counter()
        tip = workspace.fetch(target="main")
        fetched = time.perf_counter() - begun
        entries = [e for e in workspace.list_files(tip, path) if e.path.endswith(".yaml")]
        begun = time.perf_counter()
        workspace.fetch_blobs([e.oid for e in entries])
        fetched += time.perf_counter() - begun
        files = {}
        contents = workspace.read_blobs([e.oid for e in entries], most=10_000_000)
        for entry, (_, data) in zip(entries, contents, strict=True):
            assert isinstance(data, bytes)
            bumped = bump_file(entry.path, data, wanted)
            if bumped.edits:
                files[entry.path] = (entry.mode, bumped.data)
        assert len(files) == 1
        workspace.write_commit(
            NewCommit(
                parent=tip, name="bot", email="bot@example.com", at=0, message="bump", files=files
            )
        )
        print(fetched)


if __name__ == "__main__":
    main(*sys.argv[1:])
