"""A project's bare repository: reading it and writing commits with git's plumbing, never a checkout."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
RECORD = "%H%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B%x00%x01"

# Protected branches are enforced where git itself would: the server hands the hook the patterns this user may not
# push, and reads back what was pushed. Any other way into the folder (a test's own git) is left alone.
PRE_RECEIVE = r"""#!/bin/sh
set -f
while read -r old new ref; do
  branch=${ref#refs/heads/}
  for pattern in $FORGE_DENIED; do
    case "$branch" in
      $pattern)
        echo "GitLab: You are not allowed to push code to protected branches on this project." >&2
        exit 1 ;;
    esac
  done
  case "$ref" in
    refs/merge-requests/*) echo "GitLab: deny updating a hidden ref" >&2; exit 1 ;;
  esac
  for pattern in $FORGE_UNFORCED; do
    case "$branch" in
      $pattern)
        if [ "$old" != 0000000000000000000000000000000000000000 ] &&
           ! git merge-base --is-ancestor "$old" "$new"; then
          echo "GitLab: You are not allowed to force push code to a protected branch on this project." >&2
          exit 1
        fi ;;
    esac
  done
done
"""
POST_RECEIVE = '#!/bin/sh\n[ -z "$FORGE_PUSHED" ] || cat >> "$FORGE_PUSHED"\n'


class GitError(Exception):
    """A git command that failed; the text is git's own."""


class Conflict(Exception):  # noqa: N818 - a finding, not a fault
    """Two trees that do not merge by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who authors a commit."""

    name: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    sha: str
    parents: tuple[str, ...]
    author: Person
    authored_at: str
    committer: Person
    committed_at: str
    message: str

    @property
    def title(self) -> str:
        return self.message.split("\n", 1)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    mode: str
    type: str
    sha: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """One file of a diff, with the hunks only (as GitLab prints it)."""

    old_path: str
    new_path: str
    old_mode: str
    new_mode: str
    status: str  # git's letter: A, D, M, R, T
    text: str


def clean_environment() -> dict[str, str]:
    """The environment of every git process: nothing of the user's own configuration."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return kept | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


@dataclass(frozen=True, slots=True)
class Repository:
    directory: Path

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        ok: Sequence[int] = (0,),
        environment: Mapping[str, str] | None = None,
    ) -> bytes:
        done = subprocess.run(
            ["git", "-C", str(self.directory), *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            env=clean_environment() | dict(environment or {}),
        )
        if done.returncode not in ok:
            raise GitError(done.stderr.decode(errors="replace").strip() or f"git {arguments[0]}")
        return done.stdout

    def text(self, *arguments: str) -> str:
        return self.run(*arguments).decode(errors="surrogateescape").strip()

    def create(self, default_branch: str, files: Mapping[str, bytes], author: Person) -> None:
        """Make the bare repository with one commit of `files`."""
        self.directory.mkdir(parents=True)
        self.run("init", "--quiet", "--bare", "--template=", f"--initial-branch={default_branch}")
        # An agent fetches one commit by sha and a bot clones without blobs, as they would from GitLab.
        settings = (
            "[http]\n\treceivepack = true\n[uploadpack]\n\tallowFilter = true\n"
            "\tallowAnySHA1InWant = true\n[receive]\n\tdenyDeleteCurrent = true\n"
            "[gc]\n\tauto = 0\n[core]\n\tlogAllRefUpdates = true\n"
        )
        with (self.directory / "config").open("a", encoding="utf-8") as config:
            config.write(settings)
        (self.directory / "hooks").mkdir(exist_ok=True)
        for name, text in (("pre-receive", PRE_RECEIVE), ("post-receive", POST_RECEIVE)):
            path = self.directory / "hooks" / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        self._import(default_branch, files, author)

    def _import(self, branch: str, files: Mapping[str, bytes], author: Person) -> None:
        lines = [f"commit refs/heads/{branch}\nmark :1\n".encode()]
        lines.append(
            f"committer {author.name} <{author.email}> now\ndata 14\nInitial commit\n".encode()
        )
        for path, content in files.items():
            lines.append(
                f'M 100644 inline "{path}"\ndata {len(content)}\n'.encode() + content + b"\n"
            )
        lines.append(b"done\n")
        self.run("fast-import", "--quiet", "--done", "--date-format=now", stdin=b"".join(lines))

    def find(self, revision: str, kind: str = "commit") -> str | None:
        """Return the full sha of a revision, or None. A branch name is tried first."""
        if revision.startswith("-") or not revision:
            return None
        for name in (f"refs/heads/{revision}", revision):
            out = self.run("rev-parse", "--quiet", "--verify", f"{name}^{{{kind}}}", ok=(0, 1, 128))
            if out:
                return out.decode().strip()
        return None

    def branches(self) -> dict[str, str]:
        listed = self.text(
            "for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads/"
        )
        return {name: sha for sha, name in (line.split(" ", 1) for line in listed.splitlines())}

    def commits(self, *arguments: str) -> list[Commit]:
        """Run `git log` with `arguments` and read its commits."""
        out = self.run("log", f"--format={RECORD}", *arguments).decode(errors="replace")
        return [_commit(record) for record in out.split("\x00\x01") if record.strip()]

    def commit(self, sha: str) -> Commit:
        return self.commits("-1", sha)[0]

    def merge_base(self, one: str, other: str) -> str | None:
        out = self.run("merge-base", one, other, ok=(0, 1))
        return out.decode().strip() or None

    def is_ancestor(self, old: str, new: str) -> bool:
        return self.merge_base(old, new) == old

    def blob(self, revision: str, path: str) -> bytes | None:
        try:
            return self.run("cat-file", "blob", f"{revision}:{path}")
        except GitError:
            return None

    def tree(self, revision: str, path: str = "", *, recursive: bool = False) -> list[Entry]:
        arguments = ["ls-tree", "-z", *(["-r", "-t"] if recursive else []), revision]
        if path:
            arguments += ["--", path.rstrip("/") + "/"]
        entries = []
        for line in self.run(*arguments).decode(errors="surrogateescape").split("\0"):
            if line:
                facts, name = line.split("\t", 1)
                mode, kind, sha = facts.split()
                entries.append(Entry(mode=mode, type=kind, sha=sha, path=name))
        return entries

    def diff(self, old: str, new: str) -> list[FileDiff]:
        raw = self.run("diff", "--raw", "-z", "--no-abbrev", "-M", old, new)
        fields = raw.decode(errors="surrogateescape").split("\0")
        patches = _patches(
            self.run("diff", "--patch", "--no-color", "-M", "--full-index", old, new).decode(
                errors="replace"
            )
        )
        diffs: list[FileDiff] = []
        position = 0
        while position < len(fields) and fields[position]:
            old_mode, new_mode, _, _, letter = fields[position].lstrip(":").split(" ")
            renamed = letter[0] in "RC"
            paths = fields[position + 1 : position + (3 if renamed else 2)]
            position += 1 + len(paths)
            text = patches[len(diffs)] if len(diffs) < len(patches) else ""
            diffs.append(
                FileDiff(
                    old_path=paths[0],
                    new_path=paths[-1],
                    old_mode=old_mode,
                    new_mode=new_mode,
                    status=letter[0],
                    text=text,
                )
            )
        return diffs

    def merged_tree(self, ours: str, theirs: str, *, base: str = "") -> str:
        """Return the tree of merging two commits; raise Conflict where a person has to look."""
        if base:
            return self._picked_tree(ours, theirs, base)
        out = self.run("merge-tree", "--write-tree", "--no-messages", ours, theirs, ok=(0, 1))
        lines = out.decode().splitlines()
        if len(lines) != 1:
            raise Conflict(", ".join(sorted({line.split("\t")[-1] for line in lines[1:]})))
        return lines[0]

    def _picked_tree(self, ours: str, theirs: str, base: str) -> str:
        """Merge with a base of our choice: two parentless-but-for-base commits make git see it as the ancestor."""
        author = Person(name="sandbox", email="sandbox@localhost")
        ancestor = self.write_commit(f"{base}^{{tree}}", (), "base", author)
        one = self.write_commit(f"{ours}^{{tree}}", (ancestor,), "ours", author)
        two = self.write_commit(f"{theirs}^{{tree}}", (ancestor,), "theirs", author)
        return self.merged_tree(one, two)

    def write_commit(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        author: Person,
        committer: Person | None = None,
    ) -> str:
        by = committer or author
        environment = {
            "GIT_AUTHOR_NAME": author.name,
            "GIT_AUTHOR_EMAIL": author.email,
            "GIT_COMMITTER_NAME": by.name,
            "GIT_COMMITTER_EMAIL": by.email,
        }
        arguments = [part for parent in parents for part in ("-p", parent)]
        out = self.run(
            "commit-tree", tree, *arguments, stdin=message.encode(), environment=environment
        )
        return out.decode().strip()

    def edited_tree(self, base: str | None, edits: Mapping[str, tuple[str, bytes] | None]) -> str:
        """Return the tree of `base` with files set (mode, content) or removed (None)."""
        index = {"GIT_INDEX_FILE": str(self.directory / f"index.{os.urandom(6).hex()}")}
        try:
            self.run("read-tree", base or "--empty", environment=index)
            lines = []
            for path, edit in edits.items():
                if edit is None:
                    lines.append(f"0 {'0' * 40}\t{path}\0")
                    continue
                mode, content = edit
                sha = self.run("hash-object", "-w", "--stdin", stdin=content).decode().strip()
                lines.append(f"{mode} {sha}\t{path}\0")
            self.run(
                "update-index",
                "-z",
                "--index-info",
                stdin="".join(lines).encode(),
                environment=index,
            )
            return self.run("write-tree", environment=index).decode().strip()
        finally:
            Path(index["GIT_INDEX_FILE"]).unlink(missing_ok=True)

    def move(self, ref: str, new: str, old: str | None = None) -> None:
        """Point a ref at a commit, only where it still is at `old` when given."""
        self.run("update-ref", ref, new, *([old] if old is not None else []))

    def delete_branch(self, branch: str) -> None:
        self.run("update-ref", "-d", f"refs/heads/{branch}")


def _commit(record: str) -> Commit:
    sha, parents, an, ae, at, cn, ce, ct, message = record.lstrip("\n").split("\x00", 8)
    return Commit(
        sha=sha,
        parents=tuple(parents.split()),
        author=Person(name=an, email=ae),
        authored_at=at,
        committer=Person(name=cn, email=ce),
        committed_at=ct,
        message=message,
    )


def _patches(text: str) -> list[str]:
    """Cut a patch into its files' hunks: GitLab's `diff` field starts at the first `@@`."""
    files: list[list[str]] = []
    in_hunk = False
    for line in text.splitlines(keepends=True):
        if line.startswith("diff --git "):
            files.append([])
            in_hunk = False
            continue
        in_hunk = in_hunk or line.startswith(("@@", "Binary files"))
        if in_hunk and files:
            files[-1].append(line)
    return ["".join(lines) for lines in files]
