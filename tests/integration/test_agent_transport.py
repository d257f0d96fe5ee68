"""What the agent does when an API server throttles, forgets its token, or falls silent: a server that misbehaves on cue."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from agent.cluster.kube import KubeCluster, KubeOptions
from agent.cluster.metrics import ClusterMetrics
from agent.cluster.port import Kind, Place, Selection
from agent.errors import ClusterError, ClusterUnavailableError

PLACE = Place(
    kind=Kind(api_version="v1", kind="ConfigMap", plural="configmaps", namespaced=True),
    namespace="n",
    name="c",
)
Answer = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.answer: Callable[[str], Answer] = lambda _: (200, {}, b"{}")
        self.tokens: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "")
        self.server.tokens.append(token)
        status, headers, body = self.server.answer(token)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Tests read `tokens` instead."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first")
    return path


class Client:
    def __init__(self, server: Server, token: Path) -> None:
        self.registry = CollectorRegistry()
        self.pauses: list[float] = []
        config = token.parent / "config"
        address = f"http://127.0.0.1:{server.server_address[1]}"
        config.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "clusters": [{"name": "c", "cluster": {"server": address}}],
                    "users": [{"name": "u", "user": {"tokenFile": str(token)}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                }
            )
        )
        self.cluster = KubeCluster(
            KubeOptions(kubeconfig=str(config), timeout_s=0.5),
            metrics=ClusterMetrics(self.registry),
            pause=self.pauses.append,
        )

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def client(server, token) -> Client:
    return Client(server, token)


def test_a_rotated_token_is_read_again_and_nothing_is_lost(server, token, client):
    """K2: the kubelet writes a new token; the first refusal of the old one costs one more request."""
    assert client.cluster.find(PLACE) == {}
    token.write_text("second")
    server.answer = lambda sent: (200 if sent == "Bearer second" else 401, {}, b"{}")
    assert client.cluster.find(PLACE) == {}
    assert server.tokens[-2:] == ["Bearer first", "Bearer second"]


def test_a_token_that_stays_refused_is_an_error_after_one_more_try(server, client):
    """No loop, and no token in what is said."""
    server.answer = lambda _: (401, {}, b'{"reason": "Unauthorized", "message": "Unauthorized"}')
    with pytest.raises(ClusterError) as caught:
        client.cluster.find(PLACE)
    assert len(server.tokens) == 2
    assert "first" not in str(caught.value)


def test_a_throttled_request_waits_as_long_as_it_is_told(server, client):
    """K4: 429 with Retry-After is obeyed and counted; the answer after it is the answer."""
    answers: list[Answer] = [(429, {"Retry-After": "3"}, b"{}"), (200, {}, b"{}")]
    server.answer = lambda _: answers.pop(0)
    assert client.cluster.find(PLACE) == {}
    assert client.pauses == [3.0]
    assert client.count("lockgate_agent_cluster_throttled_total") == 1
    assert client.count("lockgate_agent_cluster_requests_total", verb="get", code="200") == 1


def test_a_server_that_throttles_for_ever_is_unavailable(server, client):
    """The caller backs off; the server's wish goes with the error."""
    server.answer = lambda _: (429, {"Retry-After": "7"}, b"{}")
    with pytest.raises(ClusterUnavailableError) as caught:
        client.cluster.find(PLACE)
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_in_trouble_is_unavailable_and_not_wrong(server, client, status):
    """A later try may work: this uses up no attempt of a sync."""
    server.answer = lambda _: (status, {}, b"<html>")
    with pytest.raises(ClusterUnavailableError):
        client.cluster.find(PLACE)


def test_an_answer_that_is_not_an_object_is_an_error(server, client):
    """A proxy's page is not mistaken for a cluster."""
    for body in (b"<html>", b"[]"):
        server.answer = lambda _, body=body: (200, {}, body)
        with pytest.raises(ClusterError):
            client.cluster.find(PLACE)


def test_a_server_that_does_not_answer_is_unavailable(server, client):
    """Every request has a deadline."""
    release = threading.Event()

    def hang(_: str) -> Answer:
        release.wait(5)
        return 200, {}, b"{}"

    server.answer = hang
    with pytest.raises(ClusterUnavailableError, match="cannot be reached"):
        client.cluster.find(PLACE)
    release.set()
    assert client.count("lockgate_agent_cluster_requests_total", verb="get", code="0") == 1


def test_a_watch_that_breaks_off_in_the_middle_says_so(server, client):
    """K3: half a stream is not the end of one."""
    server.answer = lambda _: (
        200,
        {"Content-Length": "100", "Connection": "close"},
        b'{"type": "ADDED"}\n',
    )
    stream = client.cluster.watch(Selection(kind=PLACE.kind), timeout_s=5)

    with pytest.raises(ClusterUnavailableError, match="broke off"):
        list(stream.lines())


def test_a_refused_watch_is_an_error_with_the_servers_words(server, client):
    """K14: verb, resource and ServiceAccount are in it."""
    words = "secrets is forbidden: User u cannot watch resource secrets"
    body = json.dumps({"reason": "Forbidden", "message": words}).encode()
    server.answer = lambda _: (403, {}, body)
    with pytest.raises(ClusterError, match="cannot watch resource") as caught:
        client.cluster.watch(Selection(kind=PLACE.kind), timeout_s=5)
    assert caught.value.status == 403
