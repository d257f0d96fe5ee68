"""Paths inside a config repository: relative, forward slashes, never out of it."""

import re


def path_problem(path: str) -> str:
    """Return why a path cannot be a folder of the config repo, or nothing."""
    if not path:
        return "is empty"
    if path.startswith(("/", "~")) or "\\" in path or re.match(r"[A-Za-z]:", path):
        return "must be relative to the repository, with forward slashes"
    if any(part == ".." for part in path.split("/")):
        return "must not contain .."
    if any(part.lower() == ".git" for part in path.split("/")):
        return "must not be inside .git"
    if any(ord(char) < 32 or ord(char) == 127 for char in path):
        return "holds a control character"
    return ""


def normal_path(path: str) -> str:
    """Return the path without `./`, double and trailing slashes; the whole repository is `.`."""
    return "/".join(part for part in path.split("/") if part not in {"", "."}) or "."
