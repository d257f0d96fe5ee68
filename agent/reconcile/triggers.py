"""Which event is whose business: from what the watches tell to keys in the queue.

Runs in the watches' threads. An own write comes back as an event with an equal digest or a known resourceVersion and wakes
nobody; a status write does not wake the Application it is of (D16).
"""

from collections.abc import Callable

from agent.api.application import REFRESH, parse_identity, spec_digest
from agent.cluster.port import Selection
from agent.cluster.watch import Broken, Gone, Listed, Seen, WatchEvent
from agent.core.objects import Manifest, ObjectKey, annotations_of, key_of
from agent.reconcile.observed import clear, observe, resource_version
from agent.reconcile.pods import PodBook
from agent.reconcile.state import Registry

_WATCHED_ANNOTATIONS = (
    REFRESH,
    "argocd.argoproj.io/skip-reconcile",
    "argocd.argoproj.io/deletion-approved",
    "argocd.argoproj.io/compare-options",
)


class Triggers:
    """`wake` puts an Application into the queue."""

    def __init__(self, registry: Registry, key: bytes, wake: Callable[[str], None]) -> None:
        self._registry = registry
        self._key = key
        self._wake = wake
        self.pods: PodBook | None = None  # set once by the engine: the two know each other

    def __call__(self, event: WatchEvent) -> None:
        selection = event.selection
        if self.pods is not None and self.pods.hears(selection):
            self.pods.hear(event)
        elif _is_application(selection):
            self._application(event)
        else:
            self._object(event)

    # -- Applications ----------------------------------------------------------------------------

    def _application(self, event: WatchEvent) -> None:
        match event:
            case Seen(object=manifest):
                self._application_seen(manifest)
            case Gone(namespace=namespace, name=name):
                app = self._registry.find_app(f"{namespace}/{name}")
                if app is not None:
                    app.manifest = None
                    self._wake(str(app.identity))
            case Listed(selection=selection):
                # An inventory without an Application: it was deleted while nobody watched.
                for app in self._registry.list_apps():
                    if app.manifest is None and app.identity.namespace == selection.namespace:
                        self._wake(str(app.identity))
            case Broken():
                pass

    def _application_seen(self, manifest: Manifest) -> None:
        app = self._registry.ensure_app(parse_identity(manifest))
        with self._registry.lock:
            known = app.manifest
            if known is not None and not _is_newer(manifest, known):
                return
            app.manifest = manifest
            if known is not None and _wishes(known) == _wishes(manifest):
                return
            if known is None or spec_digest(known) != spec_digest(manifest) or _asks(manifest):
                app.fetch = True
        self._wake(str(app.identity))

    # -- managed objects -------------------------------------------------------------------------

    def _object(self, event: WatchEvent) -> None:
        match event:
            case Seen(object=live):
                self._object_seen(live, first=event.first)
            case Gone(namespace=namespace, name=name, uid=uid):
                group, kind = event.selection.kind.group, event.selection.kind.kind
                self._object_gone(
                    ObjectKey(group=group, kind=kind, namespace=namespace, name=name), uid
                )
            case Broken(selection=selection):
                self._wake_owners(selection)
            case Listed(selection=selection):
                self._wake_owners(selection)

    def _object_seen(self, live: Manifest, *, first: bool) -> None:
        key = key_of(live)
        with self._registry.lock:
            owner = self._registry.owner(key)
            app = self._registry.find_app(owner) if owner else None
            state = self._registry.ensure_object(key)
            same = state.uid == live["metadata"]["uid"]
            if same and resource_version(live) <= state.version:
                return  # E7: our own write, or older news
            owned = state.owned
            if same and owned is not None and owned.api_version not in {"", live["apiVersion"]}:
                return  # E5: another watch shows it at the version we applied it with
            changed = observe(state, live, self._key, app.identity if app else None)
        # While a kind is being listed its Applications wait for the end of the listing.
        if changed and app is not None and not first:
            self._wake(owner)

    def _object_gone(self, key: ObjectKey, uid: str) -> None:
        with self._registry.lock:
            state = self._registry.find_object(key)
            if state is None or state.uid != uid:
                return
            owner = self._registry.owner(key)
            if not owner:
                clear(state)
                return
            state.gone = True
        self._wake(owner)

    def _wake_owners(self, selection: Selection) -> None:
        """Wake those who wait for a kind, or who have to say that it cannot be watched."""
        for app in self._registry.list_apps():
            desired = app.desired.objects if app.desired else ()
            keys = {item.key for item in desired}
            if app.inventory is not None:
                keys |= set(app.inventory.entries)
            kind = selection.kind
            if any((key.group, key.kind) == (kind.group, kind.kind) for key in keys):
                self._wake(str(app.identity))


def _is_application(selection: Selection) -> bool:
    return (selection.kind.group, selection.kind.kind) == (
        "argoproj.io",
        "Application",
    ) and not selection.labels


def _is_newer(manifest: Manifest, known: Manifest) -> bool:
    if manifest["metadata"]["uid"] != known["metadata"]["uid"]:
        return True
    return resource_version(manifest) > resource_version(known)


def _wishes(manifest: Manifest) -> tuple[object, ...]:
    """Return what of an Application is for us to act on; status writes change none of it."""
    annotations = annotations_of(manifest)
    return (
        manifest["metadata"]["uid"],
        spec_digest(manifest),
        manifest.get("operation"),
        tuple(annotations.get(name) for name in _WATCHED_ANNOTATIONS),
        manifest["metadata"].get("deletionTimestamp"),
    )


def _asks(manifest: Manifest) -> bool:
    return bool(manifest.get("operation")) or bool(annotations_of(manifest).get(REFRESH))
