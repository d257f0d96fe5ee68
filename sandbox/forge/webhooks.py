"""Deliveries: what happened, posted to who asked, in order, tried again on failure, and written down.

GitLab's headers; one thread; a delivery keeps its `Idempotency-Key` over its tries, as GitLab's does.
"""

import json
import queue
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import requests

from sandbox.forge.instance import Instance
from sandbox.forge.model import Hook, Project, now

HEADERS = {
    "push_events": "Push Hook",
    "merge_requests_events": "Merge Request Hook",
    "note_events": "Note Hook",
}
WAITS_S = (0.1, 0.3, 1.0, 2.0, 5.0)
TIMEOUT_S = 10.0


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One event for one hook; `statuses` holds an HTTP status per try, 0 where nobody answered."""

    hook_id: int
    url: str
    event: str
    key: str
    payload: dict[str, Any]
    created_at: str = field(default_factory=now)
    statuses: list[int] = field(default_factory=list)
    done: bool = False


class Webhooks:
    """The queue and its thread; `drop = True` loses every delivery, as a broken network would."""

    def __init__(self, instance: Instance, ca_file: str) -> None:
        self.deliveries: list[Delivery] = []
        self.drop = False
        self._instance = instance
        self._ca_file = ca_file
        self._queue: queue.SimpleQueue[tuple[Delivery, Hook] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forge-webhooks", daemon=True)

    def start(self) -> None:
        self._instance.emit = self.emit
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._queue.put(None)
        self._thread.join(timeout=TIMEOUT_S)

    def emit(self, project: Project, event: str, payload: dict[str, Any]) -> None:
        for hook in self._instance.state.hooks:
            if hook.project_id == project.id and hook.events.get(event):
                delivery = Delivery(
                    hook_id=hook.id,
                    url=hook.url,
                    event=HEADERS[event],
                    key=str(uuid.uuid4()),
                    payload=payload,
                )
                self.deliveries.append(delivery)
                self._queue.put((delivery, hook))

    def resend(self, delivery: Delivery) -> None:
        """Send a delivery once more, same key, as GitLab's Resend button does."""
        for hook in self._instance.state.hooks:
            if hook.id == delivery.hook_id:
                delivery.done = False
                self._queue.put((delivery, hook))

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while (item := self._queue.get()) is not None:
                self._deliver(session, *item)

    def _deliver(self, session: requests.Session, delivery: Delivery, hook: Hook) -> None:
        for wait_s in (0.0, *WAITS_S):
            if self._stopping.wait(wait_s):
                return
            status = 0 if self.drop else self._post(session, delivery, hook)
            delivery.statuses.append(status)
            if 200 <= status < 300 or self.drop:
                break
        delivery.done = True

    def _post(self, session: requests.Session, delivery: Delivery, hook: Hook) -> int:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitLab/19.0.0-sandbox",
            "X-Gitlab-Event": delivery.event,
            "X-Gitlab-Event-UUID": delivery.key,
            "X-Gitlab-Webhook-UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, hook.url)),
            "X-Gitlab-Instance": self._instance.url,
            "Idempotency-Key": delivery.key,
            "webhook-id": delivery.key,
            "webhook-timestamp": str(int(time.time())),
        }
        if hook.token:
            headers["X-Gitlab-Token"] = hook.token
        verify: str | bool = self._ca_file if hook.enable_ssl_verification else False
        try:
            reply = session.post(
                hook.url,
                data=json.dumps(delivery.payload).encode(),
                headers=headers,
                timeout=TIMEOUT_S,
                verify=verify if hook.url.startswith("https:") else True,
                allow_redirects=False,
            )
        except requests.RequestException:
            return 0
        return reply.status_code
