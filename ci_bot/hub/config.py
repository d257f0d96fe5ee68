"""The hub's configuration file.

```toml
[hub]
database = "/var/lib/lockgate/hub.db"
agents_listen = "127.0.0.1:7443"
web_listen = "127.0.0.1:8080"
metrics_listen = "127.0.0.1:9090"    # loopback unless you say otherwise
marker_secret_file = "/etc/lockgate/marker-secret"
poll = 60                            # seconds between two looks at the forge

[[projects]]
forge = "gitlab"
url = "https://gitlab.example"
project = "group/config"
repositories = ["https://gitlab.example/group/config.git"]   # as Applications spell it
token_file = "/etc/lockgate/token"
webhook_secret_file = "/etc/lockgate/webhook-secret"         # or: webhooks = false
ca_file = "/etc/lockgate/ca.pem"                             # optional
```
Secrets are files, so that neither this one nor the process's arguments hold any.
"""

import ipaddress
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from ci_bot.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HubSection(_Section):
    database: Path
    agents_listen: str = "127.0.0.1:7443"
    web_listen: str = "127.0.0.1:8080"
    metrics_listen: str = "127.0.0.1:9090"
    marker_secret_file: Path
    poll: float = Field(default=60.0, ge=1, le=3600)


class ProjectSection(_Section):
    forge: Literal["gitlab"] = "gitlab"
    url: str = Field(pattern=r"^https?://")
    project: str = Field(min_length=1)
    repositories: list[str] = Field(min_length=1)
    token_file: Path
    webhook_secret_file: Path | None = None
    webhooks: bool = True
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _webhooks_need_a_secret(self) -> "ProjectSection":
        if self.webhooks and self.webhook_secret_file is None:
            raise ValueError("webhook_secret_file is missing (or say webhooks = false)")
        return self


class HubConfig(_Section):
    hub: HubSection
    projects: list[ProjectSection] = Field(min_length=1)


def load_config(path: Path) -> HubConfig:
    """Read and check the file. Raises ConfigError naming the file and the field."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read: {err.strerror}") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: not TOML: {err}") from err
    try:
        config = HubConfig.model_validate(data)
    except ValidationError as err:
        raise ConfigError("\n".join(_explain(path, err))) from err
    names = [project.project for project in config.projects]
    if len(set(names)) != len(names):
        raise ConfigError(f"{path}: projects: one project is listed twice")
    return config


def _explain(path: Path, err: ValidationError) -> list[str]:
    return [
        f"{path}: {'.'.join(str(part) for part in item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
        for item in err.errors(include_input=False, include_url=False)
    ]


def read_secret(path: Path, what: str) -> SecretStr:
    """Return a secret from its file, without surrounding white space. Raises ConfigError where it is empty."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: {what} cannot be read") from err
    if not text:
        raise ConfigError(f"{path}: {what} is empty", hint="Write at least 16 random characters.")
    return SecretStr(text)


def parse_address(text: str, field: str) -> tuple[str, int]:
    """Return host and port of `host:port`."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"hub.{field}: {text!r} is not host:port")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`. A name counts only if it is `localhost`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
