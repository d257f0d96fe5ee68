"""Keeping inventories in the cluster: the agent's own resource in its own namespace (D14)."""

from collections import defaultdict

from agent.cluster.port import Cluster, Kind, Place, Selection
from agent.core.inventory import API_VERSION, KIND, Inventory, from_shards, to_shards
from agent.core.objects import AppIdentity, Manifest
from agent.errors import ClusterError


class InventoryStore:
    """Inventories by Application. Read once at start; after that this process is the only writer."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._shards: dict[str, dict[str, str]] = {}  # application -> shard's name -> uid

    def load(self) -> dict[str, Inventory]:
        """Return all inventories by `namespace/name` of their Application."""
        selection = Selection(kind=self._kind(), namespace=self._namespace)
        shards: dict[str, list[Manifest]] = defaultdict(list)
        for shard in self._cluster.list(selection):
            app = str(shard["spec"]["application"])
            shards[app].append(shard)
            meta = shard["metadata"]
            self._shards.setdefault(app, {})[meta["name"]] = meta["uid"]
        return {app: from_shards(_identity(app), found) for app, found in shards.items()}

    def save(self, inventory: Inventory) -> None:
        """Write every shard, and remove those that are not needed any more, in this order."""
        app = str(inventory.app)
        known = self._shards.setdefault(app, {})
        wanted = to_shards(inventory, self._namespace)
        for shard in wanted:
            name = shard["metadata"]["name"]
            answer = self._cluster.apply(self._place(name), shard)
            known[name] = answer["metadata"]["uid"]
        needed = {shard["metadata"]["name"] for shard in wanted}
        for name in [name for name in known if name not in needed]:
            self._cluster.delete(self._place(name), uid=known.pop(name))

    def drop(self, app: AppIdentity) -> None:
        """Forget an Application's inventory."""
        for name, uid in self._shards.pop(str(app), {}).items():
            self._cluster.delete(self._place(name), uid=uid)

    def _place(self, name: str) -> Place:
        return Place(kind=self._kind(), name=name, namespace=self._namespace)

    def _kind(self) -> Kind:
        kind = self._cluster.find_kind(API_VERSION, KIND)
        if kind is None:
            raise ClusterError(
                "the cluster does not know inventories.lockgate.dev",
                hint="run: lockgate-agent manifests | kubectl apply -f -",
            )
        return kind


def _identity(app: str) -> AppIdentity:
    namespace, _, name = app.partition("/")
    return AppIdentity(namespace=namespace, name=name)
