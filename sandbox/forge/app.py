"""The ASGI applications: API and git on the https port, pages on the plain one, faults and the log around both."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

from anyio import CapacityLimiter, to_thread

from sandbox.forge import smart_http
from sandbox.forge.access import Caller, identify
from sandbox.forge.api import routes
from sandbox.forge.faults import Exchange, Fault, Faults, RequestLog
from sandbox.forge.instance import Instance
from sandbox.forge.lifecycle import Lifecycle
from sandbox.forge.merging import Merging
from sandbox.forge.refusal import Refusal
from sandbox.forge.wire import Call, Reply, answer, carry_out, parameters

MOST_LOGGED = 65_536
THREADS = 64
Scope = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[Any], Any]
Pages = Callable[[str, str, str, dict[str, str], bytes], tuple[Reply, str]]


class Application:
    """One server's front: `pages` is None on the API's port."""

    def __init__(
        self, instance: Instance, faults: Faults, log: RequestLog, pages: Pages | None = None
    ) -> None:
        self._instance = instance
        self._lifecycle = Lifecycle(instance)
        self._merging = Merging(instance, self._lifecycle)
        self._faults = faults
        self._log = log
        self._pages = pages
        self._routes = routes()
        self._limiter: CapacityLimiter | None = None
        self.closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["raw_path"].decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        body = await _read(receive)
        method = scope["method"]
        if path.startswith("/_sandbox/"):
            await _send(send, self._control(method, path, query, body), method)
            return
        fault = self._faults.take(method, f"{path}?{query}" if query else path)
        reply, user = Reply(status=0), ""
        if fault is None or not fault.before:
            self._limiter = self._limiter or CapacityLimiter(THREADS)
            target = (method, path, query)
            reply, user = await to_thread.run_sync(
                self._answer, target, headers, body, limiter=self._limiter
            )
        status = reply.status if fault is None else _status(fault, reply)
        self._log.append(
            Exchange(
                method=method,
                path=path,
                query=dict(parse_qsl(query, keep_blank_values=True)),
                status=status,
                user=user,
                body=body[:MOST_LOGGED].decode(errors="replace")
                if "json" in headers.get("content-type", "")
                else "",
                at=time.time(),
            )
        )
        if fault is None:
            await _send(send, reply, method)
        else:
            if fault.kind.startswith("hang"):
                await self._wait(fault.seconds)
            await _misbehave(fault, reply, scope, send)

    async def _wait(self, seconds: float) -> None:
        """Be silent for a while, or until the forge closes."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.closing.wait(), seconds)

    def _answer(
        self, target: tuple[str, str, str], headers: dict[str, str], body: bytes
    ) -> tuple[Reply, str]:
        method, path, query = target
        if self._pages is not None:
            return self._pages(method, path, query, headers, body)
        if smart_http.split(path) is not None:
            reply, caller = smart_http.serve(self._instance, self._merging, target, headers, body)
            return reply, caller.user.username if caller else ""
        return self._api(target, headers, body)

    def _api(
        self, target: tuple[str, str, str], headers: dict[str, str], body: bytes
    ) -> tuple[Reply, str]:
        method, path, query = target
        caller: Caller | None = None
        try:
            caller = identify(self._instance, headers)
            route, names = self._routes.get(method, path)
            asked, merged = parameters(query, headers.get("content-type", ""), body)
            call = Call(
                instance=self._instance,
                lifecycle=self._lifecycle,
                merging=self._merging,
                caller=caller,
                method=method,
                path=path,
                names=names,
                query=asked,
                parameters=merged,
            )
            reply = carry_out(call, route)
        except Refusal as refusal:
            reply = answer(refusal.body, refusal.status)
        return reply, caller.user.username if caller else ""

    def _control(self, method: str, path: str, query: str, body: bytes) -> Reply:
        """The sandbox's own switches, for a forge that runs as a process."""
        match method, path:
            case "GET", "/_sandbox/requests":
                return answer([asdict(entry) for entry in self._log])
            case "DELETE", "/_sandbox/requests":
                self._log.clear()
                return Reply(status=204)
            case "POST", "/_sandbox/faults":
                try:
                    self._faults.add(**json.loads(body))
                except (TypeError, ValueError) as error:
                    return answer({"error": str(error)}, 400)
                return Reply(status=201)
            case "DELETE", "/_sandbox/faults":
                self._faults.clear()
                return Reply(status=204)
            case _:
                return answer({"error": "404 Not Found"}, 404)


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Send, reply: Reply, method: str) -> None:
    headers = {"content-type": reply.content_type, **reply.headers}
    if reply.status == 204:
        headers.pop("content-type")
    else:
        headers["content-length"] = str(len(reply.body))
    pairs = [(k.encode("latin-1"), v.encode("utf-8")) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    body = b"" if method == "HEAD" else reply.body
    await send({"type": "http.response.body", "body": body})


# --- faults ---


def _status(fault: Fault, reply: Reply) -> int:
    fixed = {"rate_limit": 429, "status": fault.status, "bad_gateway": 502, "redirect": 302}
    silent = {"lost_reply", "refused", "hang", "hang_after"}
    return 0 if fault.kind in silent else fixed.get(fault.kind, reply.status)


async def _misbehave(fault: Fault, reply: Reply, scope: Scope, send: Send) -> None:
    match fault.kind:
        case "lost_reply" | "refused" | "hang" | "hang_after":
            await _hang_up(scope)
        case "slow_body":
            await _drip(send, reply, fault.seconds)
        case "rate_limit":
            headers = {} if fault.retry_after is None else {"retry-after": fault.retry_after}
            limited = Reply(
                status=429, body=b"Retry later\n", headers=headers, content_type="text/plain"
            )
            await _send(send, limited, scope["method"])
        case "bad_gateway":
            page = (
                b"<html><body>502 Whoops, GitLab is taking too much time to respond.</body></html>"
            )
            await _send(send, Reply(status=502, body=page, content_type="text/html"), "GET")
        case "status":
            await _send(send, Reply(status=fault.status, body=fault.body.encode()), "GET")
        case "redirect":
            await _send(send, Reply(status=302, headers={"location": fault.location}), "GET")
        case _:
            kind = "text/html" if fault.kind == "html" else reply.content_type
            spoiled = Reply(
                status=200 if fault.kind != "patch" else reply.status,
                body=fault.spoil(reply.body),
                headers=reply.headers,
                content_type=kind,
            )
            await _send(send, spoiled, scope["method"])


async def _hang_up(scope: Scope) -> None:
    """Close the connection without a byte; the server leaves itself in `state` for this."""
    connection = scope["state"]["connection"]
    connection.transport.abort()
    while not connection.cycle.disconnected:  # noqa: ASYNC110 - no event to wait for
        await asyncio.sleep(0)  # the loop tells the protocol on its next turns


async def _drip(send: Send, reply: Reply, seconds: float) -> None:
    length = str(len(reply.body)).encode()
    headers = [(b"content-type", reply.content_type.encode()), (b"content-length", length)]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    for position in range(len(reply.body)):
        more = position + 1 < len(reply.body)
        await send(
            {
                "type": "http.response.body",
                "body": reply.body[position : position + 1],
                "more_body": more,
            }
        )
        await asyncio.sleep(seconds)
