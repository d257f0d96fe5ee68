"""Reading `.lockgate.yaml`: every complaint names file, line and what would be right."""

import re
from collections.abc import Iterator
from typing import NoReturn

from ci_bot.core.branches import branch_problem
from ci_bot.core.documents import (
    Mapping,
    Node,
    NotYamlError,
    Scalar,
    Sequence,
    fields_of,
    line_of,
    parse_chunk,
)
from ci_bot.core.environments import TIERS, Environment, RepoConfig
from ci_bot.core.paths import normal_path, path_problem
from ci_bot.errors import ConfigError, ManifestError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_TOP = ("environments", "reporters", "approvals")
_ENVIRONMENT = ("path", "branch", "tier")
_MOST_APPROVALS = 100


class _Reader:
    def __init__(self, source: str, text: str) -> None:
        self.source = source
        self.text = text

    def fail(self, node: Node | None, message: str, hint: str = "") -> NoReturn:
        line = line_of(self.text, node.start) if node is not None else 1
        raise ConfigError(f"{self.source}:{line}: {message}", hint=hint)

    def entries(
        self, node: Node, what: str, known: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, Node]]:
        if not isinstance(node, Mapping):
            self.fail(node, f"{what} must be a mapping")
        for key, value, _ in fields_of(node):
            if known and key not in known:
                self.fail(
                    value,
                    f"unknown key {key[:60]!r} in {what}",
                    f"known keys: {', '.join(known)}",
                )
            yield key, value

    def string(self, node: Node, what: str) -> str:
        if not isinstance(node, Scalar):
            self.fail(node, f"{what} must be a string")
        return node.value

    def environment(self, name: str, node: Node) -> Environment:
        if not _NAME.fullmatch(name):
            self.fail(
                node,
                f"{name[:60]!r} is not a name for an environment",
                "use a-z 0-9 . _ -, starting with a letter or digit, at most 63",
            )
        values: dict[str, str] = {}
        for key, value in self.entries(node, f"environment {name}", _ENVIRONMENT):
            values[key] = self.string(value, key)
            problem = ""
            if key == "path":
                problem = path_problem(values[key])
            elif key == "branch":
                problem = branch_problem(values[key])
            elif values[key] not in TIERS:
                problem = f"is none of {', '.join(TIERS)}"
            if problem:
                self.fail(value, f"{key} {values[key][:80]!r} {problem}")
        if "path" not in values:
            self.fail(node, f"environment {name} has no path", 'write path: "." for the whole repo')
        return Environment(
            name=name,
            path=normal_path(values["path"]),
            branch=values.get("branch", ""),
            tier=values.get("tier", "other"),
        )

    def reporters(self, node: Node) -> tuple[str, ...]:
        if not isinstance(node, Sequence):
            self.fail(node, "reporters must be a list of usernames")
        names = [self.string(item, "a reporter") for item in node.items if isinstance(item, Node)]
        if not all(names) or len(names) != len(node.items):
            self.fail(node, "reporters must be a list of usernames")
        return tuple(names)

    def approvals(self, node: Node) -> int:
        text = self.string(node, "approvals")
        if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or int(text) > _MOST_APPROVALS:
            self.fail(
                node, f"approvals must be a whole number from 0 to {_MOST_APPROVALS}, not {text!r}"
            )
        return int(text)


def read_repo_config(data: bytes, source: str) -> RepoConfig:
    """Return the configuration in the bytes of `.lockgate.yaml`."""
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise ConfigError(f"{source}:{line}: not UTF-8; save it as UTF-8") from err
    try:
        roots = parse_chunk(source, text, 0, len(text)).roots
    except NotYamlError as err:
        line = line_of(text, err.position)
        raise ConfigError(f"{source}:{line}: not YAML: {err.problem}") from err
    except ManifestError as err:
        raise ConfigError(err.message, hint=err.hint) from err
    reader = _Reader(source, text)
    if len(roots) > 1:
        reader.fail(roots[1], "more than one document")
    if not roots or (isinstance(roots[0], Scalar) and not roots[0].value):
        return RepoConfig()
    values = dict(reader.entries(roots[0], "the file", _TOP))
    environments = {}
    if "environments" in values:
        for name, node in reader.entries(values["environments"], "environments"):
            environments[name] = reader.environment(name, node)
    return RepoConfig(
        environments=environments,
        reporters=reader.reporters(values["reporters"]) if "reporters" in values else (),
        approvals=reader.approvals(values["approvals"]) if "approvals" in values else 1,
    )
