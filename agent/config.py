"""The agent's settings: options and `LOCKGATE_AGENT_*` become one frozen value, or one clear error.

Nothing here imports more than the standard library, so that `--help` stays fast.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ConfigError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DURATION = re.compile(r"(\d+)(s|m|h)")
_UNIT_S = {"s": 1, "m": 60, "h": 3600}
_APP = re.compile(r"\*|[a-z0-9.-]{1,253}/[a-z0-9.-]{1,253}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawOptions:
    """The options of `lockgate-agent run` as text."""

    cluster: str = ""
    hub: str = ""
    insecure_loopback: bool = False
    kubeconfig: str = ""
    namespaces: str = "argocd"
    home_namespace: str = "lockgate-system"
    git_credential: str = ""
    ca_file: str = ""
    poll: str = "3m"
    cache_dir: str = ""
    metrics_listen: str = "127.0.0.1:0"
    take_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the agent runs with; durations are in seconds."""

    cluster: str
    hub: str  # host:port, or "" for none
    kubeconfig: str
    namespaces: tuple[str, ...]
    home_namespace: str
    git_credential: Path | None
    ca_file: Path | None
    poll_s: float
    cache_dir: Path
    metrics: tuple[str, int] | None
    take_over: frozenset[str]


def read_settings(raw: RawOptions, environment: Mapping[str, str]) -> Settings:
    """Check every option; raises `ConfigError` that names the first wrong one."""
    namespaces = tuple(part for part in re.split(r"[,\s]+", raw.namespaces) if part)
    if not namespaces:
        raise ConfigError("--namespaces: name at least one", hint="for example --namespaces argocd")
    home = _name("--home-namespace", raw.home_namespace)
    for namespace in namespaces:
        if _name("--namespaces", namespace) == home:
            raise ConfigError(f"--namespaces: {home} is the agent's own (--home-namespace)")
    for app in raw.take_over:
        if not _APP.fullmatch(app):
            raise ConfigError(f"--take-over: {app[:80]!r} is neither namespace/name nor '*'")
    return Settings(
        cluster=_name("--cluster", raw.cluster),
        hub=_hub(raw),
        kubeconfig=str(_file("--kubeconfig", raw.kubeconfig) or ""),
        namespaces=namespaces,
        home_namespace=home,
        git_credential=_file("--git-credential", raw.git_credential),
        ca_file=_file("--ca-file", raw.ca_file),
        poll_s=_duration("--poll", raw.poll),
        cache_dir=_cache_dir(raw.cache_dir, environment),
        metrics=None
        if raw.metrics_listen == "off"
        else _address("--metrics-listen", raw.metrics_listen),
        take_over=frozenset(raw.take_over),
    )


def _name(option: str, value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ConfigError(
            f"{option}: {value[:80]!r} is not a name",
            hint="lower-case letters, digits and '-', at most 63 characters",
        )
    return value


def _file(option: str, value: str) -> Path | None:
    if not value:
        return None
    path = Path(value)
    if not path.is_file():
        raise ConfigError(f"{option}: there is no file {value}")
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{option}: {value} cannot be read", hint="check owner and mode")
    return path.absolute()


def _duration(option: str, value: str) -> float:
    match = _DURATION.fullmatch(value)
    seconds = int(match[1]) * _UNIT_S[match[2]] if match else 0
    if not 1 <= seconds <= 24 * 3600:
        raise ConfigError(f"{option}: {value[:80]!r} is not a duration from 1s to 24h, such as 3m")
    return float(seconds)


def _address(option: str, value: str) -> tuple[str, int]:
    host, separator, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{option}: {value[:80]!r} is not of the form host:port")
    return host, int(port)


def _hub(raw: RawOptions) -> str:
    if not raw.hub:
        if raw.insecure_loopback:
            raise ConfigError("--insecure-loopback: means nothing without --hub")
        return ""
    host, port = _address("--hub", raw.hub)
    if not raw.insecure_loopback or not _is_loopback(host) or port == 0:
        raise ConfigError(
            f"--hub {raw.hub[:80]}: without TLS the agent only speaks to a hub on this machine",
            hint="give a loopback address together with --insecure-loopback, or run without a hub",
        )
    return raw.hub


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _cache_dir(value: str, environment: Mapping[str, str]) -> Path:
    if value:
        return Path(value).absolute()
    base = environment.get("XDG_CACHE_HOME") or f"{environment.get('HOME') or '/tmp'}/.cache"  # noqa: S108 - the last resort of a pod without HOME; mirrors hold no secret
    return Path(base) / "lockgate-agent"
