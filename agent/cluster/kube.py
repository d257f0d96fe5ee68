"""The real API server behind `Cluster`: raw JSON over the `kubernetes` package's configuration and transport.

The package is used for what is hard to get right (kubeconfig, in-cluster files, TLS, token rotation, proxies) and not for
its models: parsing 500 objects through those costs more than everything else the agent does.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson

from agent.cluster.metrics import ClusterMetrics
from agent.cluster.port import EventStream, Json, Kind, Place, Selection
from agent.cluster.transport import Answer, Request, Transport
from agent.errors import ClusterError

MANAGER = "lockgate"
_APPLY = "application/apply-patch+yaml"  # a JSON body is YAML, and is read without YAML's surprises
_JSON = "application/json"
_DISCOVERY_PAUSE_S = 5.0
_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeOptions:
    kubeconfig: str = ""  # empty: the pod's ServiceAccount, else the user's own kubeconfig
    context: str = ""
    timeout_s: float = 30.0
    connections: int = 32


class KubeCluster:
    """`Cluster` over HTTP. One instance serves all threads."""

    def __init__(
        self,
        options: KubeOptions | None = None,
        *,
        metrics: ClusterMetrics | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        options = options or KubeOptions()
        self._transport = Transport(
            kubeconfig=options.kubeconfig,
            context=options.context,
            timeout_s=options.timeout_s,
            connections=options.connections,
            metrics=metrics or ClusterMetrics(),
            pause=pause,
        )
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._asked: dict[str, float] = {}
        self._versions: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def find_kind(self, api_version: str, kind: str) -> Kind | None:
        with self._lock:
            known = self._kinds.get((api_version, kind))
            asked = self._asked.get(api_version)
            if known is not None:
                return known
            if asked is not None and time.monotonic() - asked < _DISCOVERY_PAUSE_S:
                return None
            self._discover(api_version)
            self._asked[api_version] = time.monotonic()
            return self._kinds.get((api_version, kind))

    def find_served(self, group: str, kind: str) -> Kind | None:
        if not group:
            return self.find_kind("v1", kind)
        with self._lock:
            versions = self._versions.get(group)
        if versions is None:
            answer = self._send("discover", "GET", f"/apis/{group}", allowed=(404,))
            if answer.status == 404:
                return None
            told = _object(answer.body)
            preferred = str((told.get("preferredVersion") or {}).get("groupVersion") or "")
            others = [str(item["groupVersion"]) for item in told.get("versions") or ()]
            versions = tuple(dict.fromkeys([preferred, *others]))
            with self._lock:
                self._versions[group] = versions
        found = (self.find_kind(version, kind) for version in versions if version)
        return next((item for item in found if item is not None), None)

    def find(self, place: Place) -> Json | None:
        answer = self._send("get", "GET", place.path, allowed=(404,))
        return None if answer.status == 404 else _object(answer.body)

    def list(self, selection: Selection) -> Sequence[Json]:
        kind = selection.kind
        found: list[Json] = []
        token = ""
        while True:
            query = _selectors(selection) | {"limit": str(_PAGE)}
            if token:
                query["continue"] = token
            path = kind.path(selection.namespace)
            page = _object(self._send("list", "GET", path, query=query).body)
            for item in page.get("items") or ():
                # Items of built-in kinds carry neither; watch events do.
                item["apiVersion"], item["kind"] = kind.api_version, kind.kind
                found.append(item)
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return found

    def apply(self, place: Place, body: Json, *, dry_run: bool = False) -> Json:
        query = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        answer = self._send(
            "apply", "PATCH", place.path, query=query, body=orjson.dumps(body), content=_APPLY
        )
        return _object(answer.body)

    def create(self, place: Place, body: Json) -> Json:
        path = place.kind.path(place.namespace)
        query = {"fieldManager": MANAGER}
        answer = self._send("create", "POST", path, query=query, body=orjson.dumps(body))
        return _object(answer.body)

    def patch(self, place: Place, operations: Sequence[Mapping[str, Any]]) -> Json:
        body = orjson.dumps(operations)
        return self._patch(place, body, "application/json-patch+json")

    def merge(self, place: Place, body: Json) -> Json:
        return self._patch(place, orjson.dumps(body), "application/merge-patch+json")

    def _patch(self, place: Place, body: bytes, content: str) -> Json:
        query = {"fieldManager": MANAGER}
        answer = self._send("patch", "PATCH", place.path, query=query, body=body, content=content)
        return _object(answer.body)

    def delete(self, place: Place, *, uid: str, propagation: str = "Background") -> bool:
        if not uid:
            raise ClusterError(f"{place} is not deleted: its uid is not known")
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": propagation,
        }
        body = orjson.dumps(options)
        answer = self._send("delete", "DELETE", place.path, body=body, allowed=(404, 409))
        return answer.status not in {404, 409}

    def watch(self, selection: Selection, *, timeout_s: float) -> EventStream:
        query = _selectors(selection) | {
            "watch": "1",
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
            "resourceVersion": "0",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(timeout_s)),
        }
        path = f"{selection.kind.path(selection.namespace)}?{urlencode(query)}"
        return self._transport.open(path)

    def _discover(self, api_version: str) -> None:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        answer = self._send("discover", "GET", root, allowed=(404,))
        if answer.status == 404:
            return
        for item in _object(answer.body).get("resources") or ():
            if "/" in item["name"]:
                continue
            self._kinds[api_version, item["kind"]] = Kind(
                api_version=api_version,
                kind=item["kind"],
                plural=item["name"],
                namespaced=bool(item["namespaced"]),
            )

    def _send(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content: str = _JSON,
        allowed: tuple[int, ...] = (),
    ) -> Answer:
        url = f"{path}?{urlencode(query)}" if query else path
        request = Request(verb=verb, method=method, url=url, body=body, content=content)
        return self._transport.send(request, allowed=allowed)


def _selectors(selection: Selection) -> dict[str, str]:
    wanted = {"labelSelector": selection.labels, "fieldSelector": selection.fields}
    return {name: value for name, value in wanted.items() if value}


def _object(body: bytes) -> Json:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ClusterError("the API server's answer is not JSON") from error
    if not isinstance(value, dict):
        raise ClusterError("the API server's answer is not an object")
    return value
