"""What each part of the stack is told: addresses, tokens, and the files they are written in."""

import json
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from sandbox.processes import free_ports

CLUSTER = "demo"
PROJECT = "group/config"
WEBHOOK_PATH = "/webhooks"
# username -> role, display name. Roles as GitLab has them; nobody may push to the protected main.
USERS = {
    "senior": ("maintainer", "Sam Ortiz"),
    "junior": ("developer", "June Miller"),
    "lockgate-bot": ("developer", "Lockgate bot"),
    "lockgate-hub": ("developer", "Lockgate hub"),
    "lockgate-agent": ("reporter", "Lockgate agent"),
}
# The least each needs: the agent may only read git.
SCOPES = {
    "junior": ["api"],
    "senior": ["api"],
    "lockgate-bot": ["api", "write_repository"],
    "lockgate-hub": ["api"],
    "lockgate-agent": ["read_repository"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The ports of one stack, all on 127.0.0.1."""

    forge: int
    pages: int
    hub_web: int
    hub_grpc: int
    hub_metrics: int
    agent_metrics: int

    @classmethod
    def choose(cls) -> "Addresses":
        names = [each.name for each in fields(cls)]
        return cls(**dict(zip(names, free_ports(len(names)), strict=True)))

    @property
    def forge_url(self) -> str:
        return f"https://127.0.0.1:{self.forge}"

    @property
    def pages_url(self) -> str:
        return f"http://127.0.0.1:{self.pages}"

    @property
    def repository(self) -> str:
        return f"{self.forge_url}/{PROJECT}.git"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Made anew for each stack; on disk only in files their owner alone may read."""

    tokens: Mapping[str, str] = field(repr=False)
    webhook: str = field(repr=False)
    marker: str = field(repr=False)

    @classmethod
    def make(cls) -> "Secrets":
        return cls(
            tokens={name: f"glpat-{secrets.token_urlsafe(18)}" for name in USERS},
            webhook=secrets.token_urlsafe(24),
            marker=secrets.token_urlsafe(24),
        )


def write_private(path: Path, text: str) -> Path:
    """Write a file only its owner may read, from its first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def forge_seed(at: Addresses, known: Secrets, files: Path) -> str:
    """What the forge starts with: people, their tokens, the config repo, and the hub's webhook."""
    hook = {
        "url": f"http://127.0.0.1:{at.hub_web}{WEBHOOK_PATH}",
        "token": known.webhook,
        "events": ["push", "merge_requests", "note"],
    }
    seed = {
        "users": [
            {"username": user, "name": name, "role": role, "bot": user.startswith("lockgate-")}
            for user, (role, name) in USERS.items()
        ],
        "tokens": [
            {"username": user, "name": "sandbox", "scopes": scopes, "value": known.tokens[user]}
            for user, scopes in SCOPES.items()
        ],
        "projects": [{"path": PROJECT, "files_dir": str(files), "hooks": [hook]}],
    }
    return json.dumps(seed, indent=1)


def hub_config(root: Path, at: Addresses, known: Secrets, ca_file: Path, poll_s: int = 300) -> str:
    """The hub's configuration, with each secret in a file of its own."""
    files = {
        "marker-secret": known.marker,
        "token": known.tokens["lockgate-hub"],
        "webhook-secret": known.webhook,
    }
    for name, text in files.items():
        write_private(root / name, text)
    return f"""\
[hub]
database = "{root / "hub.db"}"
agents_listen = "127.0.0.1:{at.hub_grpc}"
web_listen = "127.0.0.1:{at.hub_web}"
metrics_listen = "127.0.0.1:{at.hub_metrics}"
marker_secret_file = "{root / "marker-secret"}"
# Webhooks do the work here; a poll that covered for them would hide a broken one.
poll = {poll_s}

[[projects]]
url = "{at.forge_url}"
project = "{PROJECT}"
repositories = ["{at.repository}"]
token_file = "{root / "token"}"
webhook_secret_file = "{root / "webhook-secret"}"
ca_file = "{ca_file}"
"""


def git_credential(at: Addresses, known: Secrets) -> str:
    """The agent's read-only credential, for this one group."""
    name = "lockgate-agent"
    group = PROJECT.split("/", 1)[0]
    return f"https://{name}:{known.tokens[name]}@127.0.0.1:{at.forge}/{group}\n"


def shell_environment(variables: Mapping[str, str]) -> str:
    """A file for a shell to read with `.`"""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
