"""What can go wrong between a client and a forge, on demand, and what was on the wire meanwhile.

A fault meets the next `times` requests whose method and path match, and is then used up. Kinds:

| kind | what the client sees | was the request carried out? |
|---|---|---|
| `rate_limit` | 429 with `retry_after` (seconds or a date) or none | no |
| `status` | `status` with `body` | no |
| `bad_gateway` | 502 | yes |
| `lost_reply` | the connection closes without a byte | yes |
| `refused` | the connection closes without a byte | no |
| `hang` | silence for `seconds`, then the connection closes | no |
| `hang_after` | the same | yes |
| `slow_body` | the answer, one byte a `seconds` | yes |
| `truncated`, `html`, `empty` | 200 with half the JSON, a page, nothing | yes |
| `patch` | the answer with `patch` laid over every object in it | yes |
| `redirect` | 302 to `location` | no |
"""

import json
import re
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "rate_limit",
    "status",
    "bad_gateway",
    "lost_reply",
    "refused",
    "hang",
    "hang_after",
    "slow_body",
    "truncated",
    "html",
    "empty",
    "patch",
    "redirect",
]
BEFORE: frozenset[Kind] = frozenset({"rate_limit", "status", "refused", "hang", "redirect"})


@dataclass(slots=True, kw_only=True)
class Fault:
    """One kind of trouble; `hits` counts the requests it met."""

    kind: Kind
    method: str = ""
    path: str = ""
    times: int = 1
    status: int = 500
    body: str = '{"message":"500 Internal Server Error"}'
    retry_after: str | None = None
    seconds: float = 30.0
    location: str = ""
    patch: dict[str, Any] = field(default_factory=dict)
    hits: int = 0

    def meets(self, method: str, target: str) -> bool:
        """Match the method exactly (if given) and the path with its query by regular expression."""
        return (
            self.hits < self.times
            and self.method.upper() in {"", method}
            and re.search(self.path, target) is not None
        )

    @property
    def before(self) -> bool:
        """True where the request is not carried out."""
        return self.kind in BEFORE

    def spoil(self, body: bytes) -> bytes:
        """Return what the client gets instead of `body`."""
        match self.kind:
            case "truncated":
                return body[: max(1, len(body) // 2)]
            case "html":
                return (
                    b"<!DOCTYPE html><html><body><h1>Waiting for GitLab to boot</h1></body></html>"
                )
            case "empty":
                return b""
            case "patch":
                return json.dumps(_patched(json.loads(body), self.patch)).encode()
            case _:
                return body


def _patched(value: Any, patch: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_patched(item, patch) for item in value]
    return value | patch if isinstance(value, dict) else value


class Faults:
    """The faults waiting for their requests, first come first served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, kind: Kind, **options: Any) -> Fault:
        """Arm a fault: `faults.add("rate_limit", method="POST", path="/notes$", retry_after="2")`."""
        fault = Fault(kind=kind, **options)
        re.compile(fault.path)
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, method: str, target: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.meets(method, target):
                    fault.hits += 1
                    return fault
        return None

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request as it was on the wire. `status` 0: the client got no answer. No header is kept."""

    method: str
    path: str
    query: dict[str, str]
    status: int
    user: str
    body: str
    at: float


class RequestLog:
    """Everything that was asked, in order; iterate it or ask for `matching`."""

    def __init__(self) -> None:
        self._entries: list[Exchange] = []

    def append(self, exchange: Exchange) -> None:
        self._entries.append(exchange)

    def __iter__(self) -> Any:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def matching(self, method: str = "", path: str = "", user: str = "") -> list[Exchange]:
        return [
            entry
            for entry in list(self._entries)
            if method in {"", entry.method}
            and re.search(path, entry.path)
            and user in {"", entry.user}
        ]

    def clear(self) -> None:
        self._entries.clear()
