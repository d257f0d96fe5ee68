"""From an Application to what git states now: fetch if asked to, render only what changed."""

from collections.abc import Callable
from dataclasses import replace

from agent.cluster.port import Cluster
from agent.core.application import Application
from agent.core.prepare import prepare
from agent.core.status import summary_images
from agent.errors import AgentError, InvalidSpecError, SourceError
from agent.reconcile.state import AppState, Desired
from agent.render.port import Renderer, RenderRequest
from agent.source.port import Source


class Loader:
    """Desired state, kept per Application until commit, tree or spec change."""

    def __init__(
        self,
        source: Source,
        renderer: Renderer,
        cluster: Cluster,
        *,
        home: str,
        poll_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._source = source
        self._renderer = renderer
        self._cluster = cluster
        self._home = home
        self._poll_s = poll_s
        self._monotonic = monotonic

    def load(self, state: AppState, app: Application) -> Desired:
        """Return what git states; raises what source or renderer raised. Updates the poll's due time."""
        known, state.fetch_s = state.desired, 0.0
        polled = self._monotonic() >= state.next_fetch
        due = state.fetch or polled
        pinned = app.operation.revision if app.operation else ""
        if known is not None and not due and not pinned and known.spec_digest == app.spec_digest:
            return known
        # Cleared before the network is asked: a hint that comes meanwhile must count.
        # One fetch answers all Applications of a repository that were woken together, by a hint or by their poll.
        since = state.asked_at if state.fetch else state.next_fetch
        state.fetch, state.asked_at = False, None
        begun = self._monotonic()
        try:
            revision = self._fetch(app, pinned, since)
        except AgentError:
            state.fetch = True
            raise
        finally:
            state.fetch_s = self._monotonic() - begun
            state.next_fetch = self._monotonic() + self._poll_s
        desired = self._desired(app, revision, known)
        self._remember(state, known, desired)
        return desired

    def _fetch(self, app: Application, pinned: str, since: float | None) -> str:
        repo, target = app.source.repo_url, app.source.target_revision
        revision = self._source.fetch(repo, target, since=since)
        if not pinned or pinned in {target, revision}:
            return revision
        if app.sync_policy.automated is not None:
            raise InvalidSpecError(
                f"operation.sync.revision: {pinned[:40]} is not what spec.source.targetRevision names, "
                "and auto-sync would undo it",
                hint="turn syncPolicy.automated off, or change targetRevision",
            )
        wanted = self._source.fetch(repo, pinned)
        if not self._source.is_ancestor(repo, wanted, revision):
            raise InvalidSpecError(
                f"operation.sync.revision: {pinned[:40]} is not on the tracked branch {target}"
            )
        return wanted

    def _desired(self, app: Application, revision: str, known: Desired | None) -> Desired:
        repo, path = app.source.repo_url, app.source.path
        same_spec = known is not None and known.spec_digest == app.spec_digest
        if known is not None and same_spec and known.revision == revision:
            return known
        tree = self._source.get_tree(repo, revision, path)
        change = self._change(repo, revision, path)
        if known is not None and same_spec and known.tree == tree.oid:
            return replace(known, revision=revision, change_revision=change)
        rendered = self._renderer.render(
            RenderRequest(
                files=tree.files,
                read_blobs=lambda oids: self._source.read_blobs(repo, oids),
                app_name=app.identity.name,
                directory=app.source.directory,
            )
        )
        prepared = prepare(
            rendered.objects,
            app.identity,
            app.destination_namespace,
            self._is_namespaced,
            self._home,
        )
        return Desired(
            revision=revision,
            tree=tree.oid,
            spec_digest=app.spec_digest,
            objects=prepared.objects,
            warnings=prepared.warnings,
            change_revision=change,
            images=summary_images(item.manifest for item in prepared.objects),
        )

    def _change(self, repo: str, revision: str, path: str) -> str:
        try:
            return self._source.find_change(repo, revision, path)
        except SourceError:
            # A shallow or partial history cannot tell; the revision itself is never wrong.
            return revision

    def _remember(self, state: AppState, known: Desired | None, desired: Desired) -> None:
        if known is not None and known.change_revision != desired.change_revision:
            state.previous_revision = known.change_revision
            state.previous_images = known.images
            state.healthy_since = None
            state.applied_at = None
        state.desired = desired

    def _is_namespaced(self, api_version: str, kind: str) -> bool | None:
        found = self._cluster.find_kind(api_version, kind)
        return None if found is None else found.namespaced
