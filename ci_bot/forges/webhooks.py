"""Webhook deliveries as the hub sees them: verified on raw bytes, parsed to a hint, nothing more.

A delivery is an untrusted hint. `verify` says whether it comes from somebody who holds the project's secret; `parse`
takes from it only which project, which ref and which merge request to look at. State is always read again from the
forge's API, and no address in a payload is ever fetched. Both are pure.
"""

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ci_bot.errors import CiBotError

Headers = Sequence[tuple[bytes, bytes]]

TOKEN = b"x-gitlab-token"
DELIVERY_IDS = (b"webhook-id", b"idempotency-key", b"x-gitlab-event-uuid")
MAX_TEXT = 500


class WebhookError(CiBotError):
    """The delivery is not authentic, or not a delivery at all."""

    reason = "WebhookRefused"


class EventKind(StrEnum):
    PUSH = "push"
    MERGE_REQUEST = "merge_request"
    NOTE = "note"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeEvent:
    """What a delivery points at. Fields a payload lacks, or holds in another type, are empty."""

    kind: EventKind
    delivery: str = ""  # the forge's id of this delivery; the same on every repetition
    project_id: str = ""
    project_path: str = ""
    ref: str = ""  # push: refs/heads/main
    sha: str = ""  # push: the new tip
    number: int = 0  # merge request the event is about
    default_branch: str = ""  # as the forge names it now


def verify(headers: Headers, secret: bytes) -> None:
    """Raise WebhookError unless exactly one token header equals `secret`; compared in constant time."""
    if not secret:
        raise WebhookError("no webhook secret is configured; nothing is accepted")
    tokens = [value for name, value in headers if name.lower() == TOKEN]
    if len(tokens) != 1:
        raise WebhookError("the delivery carries no token, or several")
    if not hmac.compare_digest(tokens[0], secret):
        raise WebhookError("the delivery's token is wrong")


def parse(headers: Headers, body: bytes) -> ForgeEvent:
    """Return what a GitLab delivery points at; raises WebhookError where the body is no JSON object."""
    payload = _load(body)
    match payload.get("object_kind"):
        case "push" | "tag_push":
            kind = EventKind.PUSH
        case "merge_request":
            kind = EventKind.MERGE_REQUEST
        case "note":
            kind = EventKind.NOTE
        case _:
            kind = EventKind.OTHER
    project = _object(payload.get("project"))
    return ForgeEvent(
        kind=kind,
        delivery=_find_delivery(headers),
        project_id=_identifier(project.get("id")) or _identifier(payload.get("project_id")),
        project_path=_text(project.get("path_with_namespace")),
        ref=_text(payload.get("ref")) if kind is EventKind.PUSH else "",
        sha=_text(payload.get("after")) if kind is EventKind.PUSH else "",
        number=_find_number(kind, payload),
        default_branch=_text(project.get("default_branch")),
    )


def _load(body: bytes) -> Mapping[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise WebhookError("the delivery's body is not JSON") from err
    if not isinstance(payload, dict):
        raise WebhookError("the delivery's body is not a JSON object")
    return payload


def _find_delivery(headers: Headers) -> str:
    for wanted in DELIVERY_IDS:
        for name, value in headers:
            if name.lower() == wanted and value:
                return value.decode("ascii", "replace")[:MAX_TEXT]
    return ""


def _find_number(kind: EventKind, payload: Mapping[str, Any]) -> int:
    match kind:
        case EventKind.MERGE_REQUEST:
            holder = _object(payload.get("object_attributes"))
        case EventKind.NOTE:
            holder = _object(payload.get("merge_request"))
        case _:
            return 0
    number = holder.get("iid")
    if not isinstance(number, int) or isinstance(number, bool):
        return 0
    return number if 0 < number < 2**31 else 0


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    # A lone surrogate from JSON cannot be stored as UTF-8.
    return value.encode("utf-8", "replace").decode()[:MAX_TEXT] if isinstance(value, str) else ""


def _identifier(value: object) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
