"""The API server's own account of who asked what: so a test can count exactly what one ServiceAccount sent."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

# The control plane talks to itself all the time; what it says is not worth a disk.
POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "sandbox:kwok"]
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: Metadata
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One request as the API server saw it. `at` is its arrival, `ended` its last stage; RFC 3339 in UTC.

    `code` is 0 while a watch is open.
    """

    user: str
    verb: str
    uri: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    at: str
    ended: str
    user_agent: str


def read_events(log: Path, user: str | None = None) -> list[AuditEvent]:
    """Return the requests so far, in the order of their arrival; `user` is an exact user name.

    A watch is there from its start; a request that is still being answered is not.
    """
    found: dict[str, AuditEvent] = {}
    for raw in _lines(log, user):
        found[raw["auditID"]] = _event(raw)
    return sorted(found.values(), key=lambda event: event.at)


def _lines(log: Path, user: str | None) -> Iterator[dict[str, Any]]:
    needle = b"" if user is None else user.encode()
    with log.open("rb") as lines:
        for line in lines:
            # A line being written has no end yet; it belongs to the next reading.
            if needle in line and line.endswith(b"\n"):
                raw = orjson.loads(line)
                if user is None or raw["user"].get("username") == user:
                    yield raw


def _event(raw: dict[str, Any]) -> AuditEvent:
    user, target, answer = (raw.get(k) or {} for k in ("user", "objectRef", "responseStatus"))
    ended = raw["stage"] == "ResponseComplete"
    return AuditEvent(
        user=str(user.get("username", "")),
        verb=str(raw["verb"]),
        uri=str(raw["requestURI"]),
        resource=str(target.get("resource", "")),
        subresource=str(target.get("subresource", "")),
        namespace=str(target.get("namespace", "")),
        name=str(target.get("name", "")),
        code=int(answer.get("code", 0)) if ended else 0,
        at=str(raw["requestReceivedTimestamp"]),
        ended=str(raw["stageTimestamp"]),
        user_agent=str(raw.get("userAgent", "")),
    )
