"""An Application that goes: with Argo CD's finalizer its objects go first, without it they stay and are let go (K20).

Neither needs git or hub: the inventory says what there is.
"""

from agent.cluster.port import Cluster, Kind, Place
from agent.core.inventory import Inventory
from agent.core.objects import Manifest, ObjectKey
from agent.core.ordering import prune_order
from agent.errors import ClusterError, ClusterUnavailableError
from agent.reconcile.state import AppState, Registry
from agent.reconcile.store import InventoryStore

_FINALIZER = "resources-finalizer.argocd.argoproj.io"
_LOOK_AGAIN_S = 1.0


class Deleter:
    """Both ways to go."""

    def __init__(self, cluster: Cluster, registry: Registry, store: InventoryStore) -> None:
        self._cluster = cluster
        self._registry = registry
        self._store = store

    def finalize(self, state: AppState, manifest: Manifest) -> float | None:
        """Carry a cascading deletion on; returns when to look again, or None when it is done."""
        mine = [f for f in manifest["metadata"].get("finalizers") or () if _is_ours(f)]
        if not mine:
            return None
        inventory = state.inventory or Inventory(app=state.identity)
        foreground = not mine[0].endswith("/background")
        remaining = [
            key
            for key in prune_order(inventory.entries)
            if not self._is_gone(state, key, inventory.entries[key].uid, foreground=foreground)
        ]
        if remaining:
            return _LOOK_AGAIN_S
        self._store.drop(state.identity)
        state.inventory = None
        self._remove_finalizers(state, manifest, mine)
        return None

    def release(self, state: AppState) -> None:
        """Let the objects of a deleted Application be; nobody manages them any more."""
        self._store.drop(state.identity)
        self._registry.forget_app(str(state.identity))

    def _is_gone(self, state: AppState, key: ObjectKey, uid: str, *, foreground: bool) -> bool:
        """Ask for the deletion of an object; tells whether it is not there any more."""
        owner = self._registry.owner(key)
        if owner and owner != str(state.identity):
            return True
        known = self._registry.find_object(key)
        kind = self._kind(key, known.api_version if known else "")
        if kind is None:
            return True  # its kind is gone, and it with it
        place = Place(kind=kind, name=key.name, namespace=key.namespace)
        if not uid:
            if known is None or not known.is_ours:
                return True
            uid = known.uid
        return not self._cluster.delete(
            place, uid=uid, propagation="Foreground" if foreground else "Background"
        )

    def _kind(self, key: ObjectKey, api_version: str) -> Kind | None:
        if api_version:
            return self._cluster.find_kind(api_version, key.kind)
        return self._cluster.find_served(key.group, key.kind)

    def _remove_finalizers(self, state: AppState, manifest: Manifest, mine: list[str]) -> None:
        kind = self._cluster.find_kind("argoproj.io/v1alpha1", "Application")
        if kind is None:
            return
        place = Place(kind=kind, name=state.identity.name, namespace=state.identity.namespace)
        metadata = manifest["metadata"]
        kept = [name for name in metadata["finalizers"] if name not in mine]
        try:
            self._cluster.patch(
                place,
                [
                    {
                        "op": "replace",
                        "path": "/metadata/resourceVersion",
                        "value": metadata["resourceVersion"],
                    },
                    {"op": "replace", "path": "/metadata/finalizers", "value": kept},
                ],
            )
        except ClusterUnavailableError:
            raise
        except ClusterError as error:
            if error.status not in {404, 409}:
                raise


def _is_ours(finalizer: str) -> bool:
    return finalizer == _FINALIZER or finalizer.startswith(f"{_FINALIZER}/")
