"""An agent in a process of its own that is killed in the middle of a sync; started by tests with its world on stdin."""

import ast
import os
import sys
import threading

from agent.cluster.kube import KubeCluster, KubeOptions
from agent.cluster.port import Json, Place
from agent.reconcile.engine import Engine
from agent.reconcile.options import ReconcileOptions
from tests.agent_world import MemorySource

KILLED = 9


class Dying(KubeCluster):
    """Kills the process before the write of a managed object that is one too many."""

    def __init__(self, options: KubeOptions, left: int) -> None:
        super().__init__(options)
        self._left = left

    def apply(self, place: Place, body: Json, *, dry_run: bool = False) -> Json:
        self._count(place)
        return super().apply(place, body, dry_run=dry_run)

    def delete(self, place: Place, *, uid: str, propagation: str = "Background") -> bool:
        self._count(place)
        return super().delete(place, uid=uid, propagation=propagation)

    def _count(self, place: Place) -> None:
        if place.kind.kind != "ConfigMap":
            return
        if self._left == 0:
            os._exit(KILLED)
        self._left -= 1


def main() -> None:
    world = ast.literal_eval(sys.stdin.read())
    source = MemorySource()
    source.commits = world["commits"]
    cluster = Dying(KubeOptions(kubeconfig=world["kubeconfig"]), world["left"])
    options = ReconcileOptions(namespaces=(world["apps"],))
    Engine(cluster, source, lambda _: None, options).start()
    threading.Event().wait(40)


if __name__ == "__main__":
    main()
