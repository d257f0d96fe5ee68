"""What the agent remembers between two looks.

Per live object: identity, resourceVersion, the digest of what is ours, health; not the object. A live object is kept, as
bytes, only between the event that brought something unexpected and the worker that judges it. Per Application: what git
states now, its inventory, and what was told last.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agent.core.application import OperationRequest
from agent.core.autosync import Attempt, Loss
from agent.core.health.result import HealthResult
from agent.core.inventory import Inventory
from agent.core.objects import AppIdentity, DesiredObject, Manifest, ObjectKey
from agent.core.ownership import Change, OwnedState
from agent.core.plan import LiveState
from agent.core.report import ApplicationReport, DriftReport, Operation, Problem
from agent.core.status import HistoryEntry, SyncedResource


@dataclass(slots=True, kw_only=True)
class ObjectState:
    """One object that carries our label, or did."""

    key: ObjectKey
    api_version: str = ""
    uid: str = ""
    version: int = 0  # resourceVersion last seen or answered; older news is ignored (rule E7)
    owned: OwnedState | None = None  # baseline, of the desired object with this hash:
    hash: str = ""
    verdict: LiveState = LiveState.EQUAL  # of the live object against the baseline
    path: str = ""
    changes: tuple[Change, ...] = ()
    live: bytes | None = None  # not judged yet
    gone: bool = False  # a watch says so; one GET will tell (D13)
    terminating: bool = False
    is_ours: bool = False  # our Apply entry and this object's own tracking id
    instance: str = ""  # value of our label
    prune_disabled: bool = False
    health: HealthResult | None = None
    replicas: tuple[int, int] = (0, 0)  # ready, desired
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What git states, rendered."""

    revision: str = ""
    tree: str = ""
    spec_digest: str = ""
    objects: tuple[DesiredObject, ...] = ()
    warnings: tuple[str, ...] = ()
    change_revision: str = ""
    images: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class AppState:
    """One Application. Only its one worker writes here, but for `manifest` and `fetch`, which the watch sets."""

    identity: AppIdentity
    manifest: Manifest | None = None  # the resource as last seen; None when it is gone
    fetch: bool = True  # somebody wants the network asked
    asked_at: float | None = None  # monotonic; a fetch begun since then answers the hint
    next_fetch: float = 0.0  # monotonic; when the poll is due
    fetch_s: float = 0.0  # how long the last look waited for git's network
    desired: Desired | None = None
    previous_revision: str = ""
    previous_images: tuple[str, ...] = ()
    inventory: Inventory | None = None
    attempt: Attempt | None = None
    attempts: int = 0  # at this revision and spec, for the retry's back-off
    failures: int = 0  # in a row, of whatever kind, for the supervisor's back-off
    not_before: float = 0.0  # monotonic; after a failure news waits until then
    retry_at: float = 0.0
    operation: Operation | None = None
    retrying: OperationRequest | None = None  # a requested sync that waits for its next attempt
    results: tuple[SyncedResource, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    losses: tuple[Loss, ...] = ()
    heal_at: float = 0.0
    contested: str = ""
    drifts: tuple[DriftReport, ...] = ()
    problems: tuple[Problem, ...] = ()
    applied_at: datetime | None = None
    healthy_since: datetime | None = None
    health_changed_at: datetime | None = None
    written_at: float = float("-inf")  # monotonic; the last status write
    status: dict[str, Any] = field(default_factory=dict)
    report: ApplicationReport | None = None
    restored: bool = False  # what the status tells of the past has been read


class Registry:
    """All Applications and all labelled objects. Methods are short and hold one lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._apps: dict[str, AppState] = {}
        self._objects: dict[ObjectKey, ObjectState] = {}
        self._claims: dict[ObjectKey, str] = {}
        self._fields: dict[bytes, bytes] = {}

    def ensure_app(self, identity: AppIdentity) -> AppState:
        with self.lock:
            return self._apps.setdefault(str(identity), AppState(identity=identity))

    def find_app(self, key: str) -> AppState | None:
        with self.lock:
            return self._apps.get(key)

    def list_apps(self) -> tuple[AppState, ...]:
        with self.lock:
            return tuple(self._apps.values())

    def forget_app(self, key: str) -> None:
        """Forget an Application and what it claims; its objects are known as long as they are there."""
        with self.lock:
            self._apps.pop(key, None)
            self._claims = {k: app for k, app in self._claims.items() if app != key}

    def find_object(self, key: ObjectKey) -> ObjectState | None:
        with self.lock:
            return self._objects.get(key)

    def ensure_object(self, key: ObjectKey) -> ObjectState:
        with self.lock:
            return self._objects.setdefault(key, ObjectState(key=key))

    def claim(self, app: str, keys: Iterable[ObjectKey]) -> None:
        """Say whose business these objects are; the first Application keeps what two want (K13)."""
        with self.lock:
            wanted = set(keys)
            for key in [k for k, owner in self._claims.items() if owner == app]:
                if key not in wanted:
                    del self._claims[key]
            for key in wanted:
                self._claims.setdefault(key, app)

    def owner(self, key: ObjectKey) -> str:
        """Return the Application an object is the business of, or an empty string."""
        with self.lock:
            return self._claims.get(key, "")

    def keep(self, state: ObjectState, owned: OwnedState, desired_hash: str) -> None:
        """Make `owned` the baseline; equal sets of fields share one copy."""
        with self.lock:
            shared = self._fields.setdefault(owned.fields, owned.fields)
            if shared is not owned.fields:
                owned = OwnedState(
                    api_version=owned.api_version,
                    fields=shared,
                    presence_only=owned.presence_only,
                    hashes=owned.hashes,
                    digest=owned.digest,
                )
            state.owned, state.hash = owned, desired_hash
            state.verdict, state.path, state.changes = LiveState.EQUAL, "", ()
