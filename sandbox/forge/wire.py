"""From bytes to a call and back: routes with GitLab's encoded segments, parameters, answers, pages of a list."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from sandbox.forge.access import (
    READS,
    Caller,
    open_project,
    require_level,
    require_scope,
)
from sandbox.forge.instance import Instance
from sandbox.forge.lifecycle import Lifecycle
from sandbox.forge.merging import Merging
from sandbox.forge.model import REPORTER, MergeRequest, Project
from sandbox.forge.refusal import Refusal, invalid, missing, not_found

PER_PAGE, MOST_PER_PAGE = 20, 100
MOST_BODY = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


def answer(value: Any, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(value).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One API request, its path taken apart, its parameters merged (query and body; the body wins)."""

    instance: Instance
    lifecycle: Lifecycle
    merging: Merging
    caller: Caller
    method: str
    path: str
    names: dict[str, str]
    query: dict[str, Any]
    parameters: dict[str, Any]

    @property
    def project(self) -> Project:
        return open_project(self.instance, self.caller, self.names["id"])

    @property
    def merge_request(self) -> MergeRequest:
        project = self.project
        require_level(project, self.caller, REPORTER)
        iid = self.names["iid"]
        if not iid.isdigit():
            raise not_found("Merge Request")
        return self.instance.merge_request(project, int(iid))

    def required(self, name: str) -> Any:
        value = self.parameters.get(name)
        if value is None or value == "":
            raise missing(name)
        return value

    def flag(self, name: str) -> bool | None:
        value = self.parameters.get(name)
        if value is None or isinstance(value, bool):
            return value
        if str(value).lower() in {"true", "1", "yes", "on"}:
            return True
        if str(value).lower() in {"false", "0", "no", "off", ""}:
            return False
        raise invalid(name)

    def text(self, name: str, default: str = "") -> str:
        value = self.parameters.get(name, default)
        if not isinstance(value, str | int | float):
            raise invalid(name)
        return str(value)

    def number(self, name: str, default: int) -> int:
        try:
            return int(self.parameters.get(name, default))
        except (TypeError, ValueError):
            raise invalid(name) from None

    def page(self, items: Iterable[Any], show: Callable[[Any], Any]) -> Reply:
        """Return one page of a list with GitLab's headers; only that page's items are worked out."""
        every = list(items)
        page = max(1, self.number("page", 1))
        per_page = min(MOST_PER_PAGE, max(1, self.number("per_page", PER_PAGE)))
        pages = max(1, -(-len(every) // per_page))
        shown = [show(item) for item in every[(page - 1) * per_page : page * per_page]]
        around = {"first": 1, "last": pages}
        if page < pages:
            around["next"] = page + 1
        if 1 < page <= pages + 1:
            around["prev"] = page - 1
        links = [
            f"<{self.instance.url}{self.path}?{urlencode(self.query | {'page': n, 'per_page': per_page}, doseq=True)}>; "
            f'rel="{name}"'
            for name, n in around.items()
        ]
        headers = {
            "x-page": str(page),
            "x-per-page": str(per_page),
            "x-total": str(len(every)),
            "x-total-pages": str(pages),
            "x-next-page": str(around.get("next", "")),
            "x-prev-page": str(around.get("prev", "")),
            "link": ", ".join(links),
        }
        return Reply(body=json.dumps(shown).encode(), headers=headers)


Handler = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    method: str
    pattern: tuple[str, ...]
    handler: Handler
    scopes: frozenset[str]

    def match(self, method: str, segments: tuple[str, ...]) -> dict[str, str] | None:
        if method != self.method or len(segments) != len(self.pattern):
            return None
        names: dict[str, str] = {}
        for wanted, segment in zip(self.pattern, segments, strict=True):
            if wanted.startswith(":"):
                names[wanted[1:]] = unquote(segment)
            elif wanted != segment:
                return None
        return names


class Routes:
    """The API's endpoints: reading needs a read scope, writing needs `api`."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def add(
        self, method: str, pattern: str, *, scopes: set[str] | None = None
    ) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            wanted = scopes or (READS if method in {"GET", "HEAD"} else {"api"})
            parts = tuple(pattern.strip("/").split("/"))
            self._routes.append(
                Route(method=method, pattern=parts, handler=handler, scopes=frozenset(wanted))
            )
            return handler

        return register

    def get(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """Return the endpoint of `/api/v4/…` and the names in its path."""
        if raw_path.startswith("/api/v4/"):
            segments = tuple(raw_path.removeprefix("/api/v4/").strip("/").split("/"))
            for route in self._routes:
                names = route.match(method, segments)
                if names is not None:
                    return route, names
        raise Refusal(404, "404 Not Found", {"error": "404 Not Found"})

    def endpoints(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return (method, pattern) of every endpoint."""
        return [(route.method, route.pattern) for route in self._routes]


def parameters(query: str, content_type: str, body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the query (lists as `name[]`) and query-with-body; a body that is not what it says is a 400."""
    asked = _pairs(query)
    merged = {name.removesuffix("[]"): value for name, value in asked.items()}
    if not body.strip():
        return asked, merged
    if "json" not in content_type:
        sent = {k.removesuffix("[]"): v for k, v in _pairs(body.decode(errors="replace")).items()}
        return asked, merged | sent
    try:
        sent = json.loads(body)
    except ValueError:
        raise Refusal(400, "bad JSON", {"error": "Problems parsing JSON"}) from None
    if not isinstance(sent, dict):
        raise Refusal(400, "bad JSON", {"error": "Problems parsing JSON"})
    return asked, merged | sent


def _pairs(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name.endswith("[]"):
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def carry_out(call: Call, route: Route) -> Reply:
    """Run a handler under the lock, and keep what it changed."""
    require_scope(call.caller, set(route.scopes))
    with call.instance.lock:
        reply = route.handler(call)
        if call.method not in {"GET", "HEAD"}:
            call.instance.save()
        return reply
