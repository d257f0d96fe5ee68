"""What is told of a look: the Application's status, written only when it says something new, and the report.

Status and report are made from the same facts. The clean-up that belongs to a request (removing `operation`, the refresh
annotation) travels in the same write.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agent.api.application import REFRESH
from agent.api.conditions import Condition, report_conditions, update_conditions
from agent.cluster.port import Cluster, Place
from agent.core.application import Application
from agent.core.health.result import HealthResult
from agent.core.objects import annotations_of
from agent.core.report import ApplicationReport, ImageReport, ResourceReport
from agent.core.repositories import scrub as scrub_address
from agent.core.states import Health, SyncStatus
from agent.core.status import StatusFacts, build_status, is_same_status
from agent.errors import ClusterError
from agent.reconcile.options import ReportSink
from agent.reconcile.state import AppState

_WORDING_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one look."""

    sync: SyncStatus
    health: HealthResult
    resources: tuple[ResourceReport, ...] = ()
    pruning: frozenset[tuple[str, str, str, str]] = frozenset()
    conditions: tuple[Condition, ...] = ()
    held: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    replicas: tuple[int, int] = (0, 0)
    done: bool = False  # the requested operation, if any, has ended
    refreshed: bool = False


class Publisher:
    """Writes status and sends reports, each only when there is something new."""

    def __init__(
        self,
        cluster: Cluster,
        report: ReportSink,
        home: str,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._monotonic = monotonic
        self._cluster = cluster
        self._report = report
        self._now = now
        self._home = home

    def publish(self, state: AppState, app: Application | None, finding: Finding) -> float | None:
        """Tell of a look; the report goes out first, it does not depend on the write.

        A status that differs in a message's wording only (counts of pods) is not written more often than every few
        seconds: then returns when to publish again.
        """
        now = self._now()
        conditions = update_conditions(
            state.status.get("conditions") or (), finding.conditions, now
        )
        self._stamp(state, finding, now)
        self._send(state, app, finding, conditions, now)
        status = self._status(state, app, finding, conditions, now)
        return self._write(state, status, finding)

    def announce(self, state: AppState, app: Application, finding: Finding) -> None:
        """Send a report of something that has only begun; nothing is written."""
        conditions = state.status.get("conditions") or ()
        self._send(state, app, finding, conditions, self._now())

    def _stamp(self, state: AppState, finding: Finding, now: datetime) -> None:
        old = state.status.get("health") or {}
        if state.health_changed_at is None or old.get("status") != str(finding.health.health):
            state.health_changed_at = now
        level = finding.sync is SyncStatus.SYNCED and finding.health.health is Health.HEALTHY
        if not level:
            state.healthy_since = None
        elif state.healthy_since is None:
            state.healthy_since = now

    def _status(
        self,
        state: AppState,
        app: Application | None,
        finding: Finding,
        conditions: Sequence[Mapping[str, Any]],
        now: datetime,
    ) -> dict[str, Any]:
        if app is None:
            # The spec cannot be read: what was known before stays, but for what no longer holds.
            old = {k: v for k, v in state.status.items() if k not in {"conditions", "sync"}}
            return {**old, "sync": {"status": "Unknown"}, "conditions": list(conditions)}
        return build_status(
            StatusFacts(
                application=app,
                sync=finding.sync,
                revision=state.desired.revision if state.desired else "",
                health=finding.health,
                health_changed_at=state.health_changed_at,
                reconciled_at=now,
                controller_namespace=self._home,
                resources=finding.resources,
                requires_pruning=finding.pruning,
                conditions=conditions,
                operation=state.operation,
                operation_results=state.results,
                retry_count=max(0, state.attempts - 1),
                images=state.desired.images if state.desired else (),
                history=state.history,
            )
        )

    def _write(self, state: AppState, status: dict[str, Any], finding: Finding) -> float | None:
        manifest = state.manifest
        if manifest is None:
            return None
        body: dict[str, Any] = {}
        if not is_same_status(status, state.status):
            wait_s = state.written_at + _WORDING_S - self._monotonic()
            if wait_s > 0 and _without_wording(status) == _without_wording(state.status):
                return wait_s
            body["status"] = _difference(state.status, status)
        metadata: dict[str, Any] = {}
        if finding.refreshed and REFRESH in annotations_of(manifest):
            metadata["annotations"] = {REFRESH: None}
        if finding.done and "operation" in manifest:
            body["operation"] = None
        if not body and not metadata:
            return None
        if metadata or "operation" in body:
            # A newer request must not be removed with the one that was served.
            metadata["resourceVersion"] = manifest["metadata"]["resourceVersion"]
        if metadata:
            body["metadata"] = metadata
        answer = self._cluster.merge(self._place(state), body)
        state.status = status
        state.manifest = answer
        state.written_at = self._monotonic()
        return None

    def _place(self, state: AppState) -> Place:
        kind = self._cluster.find_kind("argoproj.io/v1alpha1", "Application")
        if kind is None:
            raise ClusterError("the cluster does not know applications.argoproj.io")
        return Place(kind=kind, name=state.identity.name, namespace=state.identity.namespace)

    def _send(
        self,
        state: AppState,
        app: Application | None,
        finding: Finding,
        conditions: Sequence[Mapping[str, Any]],
        now: datetime,
    ) -> None:
        desired = state.desired
        report = ApplicationReport(
            app=str(state.identity),
            sync=finding.sync,
            health=finding.health.health,
            health_message=finding.health.message,
            operation=state.operation,
            resources=finding.resources,
            conditions=report_conditions(conditions),
            drift=state.drifts,
            problems=state.problems,
            held=finding.held,
            observed_at=now,
            healthy_since=state.healthy_since,
            applied_at=state.applied_at,
            replicas_ready=finding.replicas[0],
            replicas_desired=finding.replicas[1],
            extra=finding.extra,
            revision=desired.revision if desired else "",
            change_revision=desired.change_revision if desired else "",
            previous_revision=state.previous_revision,
            images=_images(state),
        )
        if app is not None:
            report = replace(
                report,
                project=app.project,
                repo=scrub_address(app.source.repo_url),
                path=app.source.path,
                target_revision=app.source.target_revision,
                destination_namespace=app.destination_namespace,
            )
        if state.report is not None and replace(report, observed_at=None) == replace(
            state.report, observed_at=None
        ):
            return
        state.report = report
        self._report(report)


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return a merge patch from one status to another; absent fields have to be removed by name."""
    patch: dict[str, Any] = {}
    for name in {*old, *new}:
        before, after = old.get(name), new.get(name)
        if name not in new:
            patch[name] = None
        elif isinstance(before, dict) and isinstance(after, dict):
            if inner := _difference(before, after):
                patch[name] = inner
        elif before != after:
            patch[name] = after
    return patch


def _without_wording(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return a status without what changes with every pod that starts."""
    health = {k: v for k, v in (status.get("health") or {}).items() if k != "message"}
    resources = [
        {**item, "health": (item.get("health") or {}).get("status")}
        for item in status.get("resources") or ()
    ]
    return {**status, "health": health, "resources": resources, "reconciledAt": None}


def _images(state: AppState) -> tuple[ImageReport, ...]:
    if state.desired is None:
        return ()
    before = {_repository(image): image for image in state.previous_images}
    return tuple(
        ImageReport(image=image, previous=previous if previous != image else "")
        for image in state.desired.images
        for previous in [before.get(_repository(image), "")]
    )


def _repository(image: str) -> str:
    """Return an image's name without tag and digest."""
    name = image.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name
