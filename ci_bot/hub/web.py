"""The public HTTP side: webhooks and `/healthz`. Metrics listen elsewhere.

A delivery is verified, cut off while it is read, looked up, stored, answered; the hint to the agents leaves before the
answer does. What is authentic and not ours gets a 2xx and is stored nowhere: a forge turns off a webhook that is refused.
"""

import asyncio
import time
from collections.abc import Callable

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ci_bot.forges.webhooks import (
    EventKind,
    ForgeEvent,
    Headers,
    WebhookError,
    parse,
    verify,
)
from ci_bot.hub.ledger import Ledger
from ci_bot.hub.projects import HubProject, Projects
from ci_bot.metrics import DELIVERIES, DELIVERY_SECONDS
from ci_bot.store.inbox import Delivery

BODY_LIMIT = 2 * 1024 * 1024
BODY_DEADLINE_S = 10
READERS = 32  # bodies held in memory at a time
log = structlog.get_logger()

Arrived = Callable[[HubProject, ForgeEvent, Delivery], None]


class _Refused(Exception):  # noqa: N818 - an answer, not an error
    def __init__(self, status: int, outcome: str) -> None:
        super().__init__(outcome)
        self.status = status
        self.outcome = outcome


class Webhooks:
    """Receives deliveries. `arrived` is called on the loop once one is stored for the first time."""

    def __init__(self, projects: Projects, ledger: Ledger, arrived: Arrived) -> None:
        self._projects = projects
        self._ledger = ledger
        self._arrived = arrived
        self._readers = asyncio.Semaphore(READERS)

    async def receive(self, request: Request) -> Response:
        """Answer one delivery: 200 taken or not ours, 4xx refused, 503 not stored."""
        started = time.perf_counter()
        try:
            outcome = await self._take(request)
        except _Refused as refused:
            DELIVERIES.labels(refused.outcome).inc()
            return PlainTextResponse(refused.outcome + "\n", status_code=refused.status)
        except WebhookError as err:
            DELIVERIES.labels("refused").inc()
            log.warning("delivery refused", reason=err.reason, message=err.message)
            return PlainTextResponse("refused\n", status_code=401)
        DELIVERIES.labels(outcome).inc()
        took_s = time.perf_counter() - started
        DELIVERY_SECONDS.observe(took_s)
        log.info("delivery answered", outcome=outcome, took_ms=round(took_s * 1000, 1))
        return PlainTextResponse(outcome + "\n")

    async def _take(self, request: Request) -> str:
        headers = request.headers.raw
        self._verify_any(headers)
        body = await self._read(request)
        try:
            event = parse(headers, body)
        except WebhookError as err:
            raise _Refused(400, "not a delivery") from err
        project = self._projects.find_by_path(event.project_path)
        if project is None or project.webhook_secret is None:
            return "not ours"
        verify(headers, project.webhook_secret.get_secret_value().encode())
        if event.kind is EventKind.OTHER:
            return "ignored"
        delivery = _to_delivery(project, event)
        try:
            row = await self._ledger.save_delivery(delivery)
        except Exception as err:
            # A forge repeats what is answered with 5xx; nothing is acknowledged that is not stored.
            log.exception("delivery not stored", project=project.path)
            raise _Refused(503, "not stored") from err
        if row:
            self._arrived(project, event, _numbered(delivery, row))
        return "taken" if row else "repeated"

    def _verify_any(self, headers: Headers) -> None:
        """Raise WebhookError where no project's secret fits: such a body is not even read."""
        error = WebhookError("no project takes webhooks")
        for project in self._projects:
            if project.webhook_secret is None:
                continue
            try:
                verify(headers, project.webhook_secret.get_secret_value().encode())
            except WebhookError as err:
                error = err
            else:
                return
        raise error

    async def _read(self, request: Request) -> bytes:
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > BODY_LIMIT:
            raise _Refused(413, "too large")
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_DEADLINE_S), self._readers:
                async for part in request.stream():
                    size += len(part)
                    if size > BODY_LIMIT:
                        raise _Refused(413, "too large")
                    parts.append(part)
        except TimeoutError as err:
            raise _Refused(408, "too slow") from err
        except ClientDisconnect as err:
            raise _Refused(400, "disconnected") from err
        return b"".join(parts)


def _to_delivery(project: HubProject, event: ForgeEvent) -> Delivery:
    # Without an id of its own a delivery is what it points at, at this moment.
    name = event.delivery or f"{event.kind}:{event.number}:{event.sha}:{time.time_ns()}"
    return Delivery(
        project=project.path,
        delivery=name,
        kind=event.kind.value,
        ref=event.ref,
        sha=event.sha,
        number=event.number,
    )


def _numbered(delivery: Delivery, row: int) -> Delivery:
    return Delivery(
        id=row,
        project=delivery.project,
        delivery=delivery.delivery,
        kind=delivery.kind,
        ref=delivery.ref,
        sha=delivery.sha,
        number=delivery.number,
    )


async def _health(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _metrics(_request: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def make_public_app(webhooks: Webhooks) -> Starlette:
    return Starlette(
        routes=[
            Route("/webhooks", webhooks.receive, methods=["POST"]),
            Route("/healthz", _health),
        ]
    )


def make_metrics_app() -> Starlette:
    return Starlette(routes=[Route("/metrics", _metrics)])
