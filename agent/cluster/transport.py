"""One HTTP exchange with the API server: authentication, keep-alive, throttling, and errors in our own words.

The only module that imports `kubernetes`, and only when a connection is first made (the import takes most of a second).
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import urllib3

from agent.cluster.metrics import ClusterMetrics
from agent.errors import ClusterError, ClusterUnavailableError, ConfigError

_MAX_THROTTLED = 5  # answers of 429 obeyed before the caller hears of it
_MAX_WAIT_S = 30.0
_MESSAGE = 512
_SILENCE_S = 120.0  # bookmarks come about every minute; a longer silence is a dead connection
_WORDS_ONLY = frozenset(
    {401, 403, 404, 429}
)  # answers that speak of names and rights, never of content


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    verb: str
    method: str
    url: str
    body: bytes | None
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes


class Transport:
    """A pool of connections that re-reads its credentials when they are refused."""

    def __init__(
        self,
        *,
        kubeconfig: str,
        context: str,
        timeout_s: float,
        connections: int,
        metrics: ClusterMetrics,
        pause: Callable[[float], None],
    ) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._timeout = urllib3.Timeout(connect=min(timeout_s, 10.0), read=timeout_s)
        self._connections = connections
        self._metrics = metrics
        self._pause = pause
        self._configuration: Any = None
        self._pool: Any = None
        self._lock = threading.Lock()

    def send(self, request: Request, *, allowed: tuple[int, ...] = ()) -> Answer:
        """Return a 2xx answer, or one of `allowed`; raise for all others."""
        reloaded = False
        for attempt in range(_MAX_THROTTLED + 1):
            response = self._exchange(request)
            status, body = response.status, response.data
            if status == 401 and not reloaded:
                reloaded = True
                self._reload()
                continue
            if status == 429 and attempt < _MAX_THROTTLED:
                self._metrics.count_wait()
                self._pause(_retry_after(response) or 1.0)
                continue
            if 200 <= status < 300 or status in allowed:
                return Answer(status=status, body=body)
            raise _error(status, body, request, _retry_after(response))
        raise ClusterUnavailableError(f"the API server keeps refusing to {request.verb}")

    def open(self, url: str) -> "Stream":
        """Open a long answer that is read line by line."""
        timeout = urllib3.Timeout(connect=10.0, read=_SILENCE_S)
        request = Request(verb="watch", method="GET", url=url, body=None, content="")
        response = self._exchange(request, timeout=timeout, stream=True)
        if response.status == 200:
            return Stream(response)
        if response.status == 401:
            self._reload()
        body = response.read()
        response.release_conn()
        raise _error(response.status, body, request, _retry_after(response))

    def _exchange(
        self, request: Request, *, timeout: urllib3.Timeout | None = None, stream: bool = False
    ) -> Any:
        pool, host, headers = self._connect()
        if request.body is not None:
            headers["Content-Type"] = request.content
        try:
            response = pool.request(
                request.method,
                host + request.url,
                body=request.body,
                headers=headers,
                timeout=timeout or self._timeout,
                preload_content=not stream,
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._metrics.count_request(request.verb, 0)
            raise ClusterUnavailableError(
                f"the API server cannot be reached ({type(error).__name__})"
            ) from error
        self._metrics.count_request(request.verb, response.status)
        return response

    def _connect(self) -> tuple[Any, str, dict[str, str]]:
        with self._lock:
            if self._pool is None:
                self._load()
            configuration = self._configuration
            headers = {"Accept": "application/json", "User-Agent": "lockgate-agent"}
            auth = configuration.auth_settings().get("BearerToken")
            if auth is not None and auth["value"]:
                headers["Authorization"] = auth["value"]
            return self._pool, configuration.host.rstrip("/"), headers

    def _reload(self) -> None:
        """Read token and certificates again: the kubelet rotates a ServiceAccount's token file."""
        with self._lock:
            self._load()

    def _load(self) -> None:
        from kubernetes import client, config  # noqa: PLC0415  # 0.8 s; `manifests` must not pay it

        configuration = client.Configuration()
        try:
            _configure(config, configuration, self._kubeconfig, self._context)
        except (config.ConfigException, OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"no cluster to talk to: {error}",
                hint="run inside a pod with a ServiceAccount, or give --kubeconfig",
            ) from error
        configuration.connection_pool_maxsize = self._connections
        configuration.retries = False
        self._configuration = configuration
        self._pool = client.ApiClient(configuration).rest_client.pool_manager


class Stream:
    """An open watch; silence for longer than bookmarks are apart counts as broken."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._closed = threading.Event()

    def lines(self) -> Iterator[bytes]:
        rest = b""
        try:
            for chunk in self._response.stream(65536, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line for line in lines if line)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # A reader of a response that another thread shut down sees any of these.
            if not self._closed.is_set():
                raise ClusterUnavailableError(
                    f"a watch broke off ({type(error).__name__})"
                ) from error
        finally:
            self._response.close()

    def close(self) -> None:
        self._closed.set()
        with contextlib.suppress(ValueError, OSError, RuntimeError):
            self._response.shutdown()


def _configure(config: Any, configuration: Any, kubeconfig: str, context: str) -> None:
    if not kubeconfig and not context:
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            pass  # not in a pod
        else:
            return
    config.load_kube_config(
        config_file=kubeconfig or None,
        context=context or None,
        client_configuration=configuration,
        persist_config=False,
    )


def _retry_after(response: Any) -> float | None:
    value = response.headers.get("Retry-After", "")
    return min(float(value), _MAX_WAIT_S) if value.isdecimal() else None


def _error(status: int, body: bytes, request: Request, retry_after: float | None) -> ClusterError:
    code, message, fields = _explain(body)
    path = request.url.partition("?")[0]
    if "/secrets" in path and status not in _WORDS_ONLY:
        # A Secret's own data can stand in what the server says of a bad one; its reason and fields are enough.
        message = ", ".join((code or "refused", *fields))
    text = f"cannot {request.verb} {path}: {message or 'no reason given'} (HTTP {status})"
    if status in {429, 502, 503, 504} or code in {"Timeout", "ServerTimeout", "TooManyRequests"}:
        return ClusterUnavailableError(text, retry_after_s=retry_after)
    return ClusterError(text, status=status, code=code, hint=_hint(status), fields=fields)


def _explain(body: bytes) -> tuple[str, str, tuple[str, ...]]:
    """Return the Status object's reason, message, and the fields its causes name."""
    try:
        told = orjson.loads(body)
        causes = (told.get("details") or {}).get("causes") or ()
        fields = tuple(str(cause.get("field") or "") for cause in causes)
        return str(told.get("reason") or ""), str(told.get("message") or "")[:_MESSAGE], fields
    except (orjson.JSONDecodeError, AttributeError):
        return "", body[:_MESSAGE].decode("utf-8", "replace"), ()


def _hint(status: int) -> str:
    if status == 403:
        return "give the agent's ServiceAccount this right, or take the kind out of the Application"
    if status == 401:
        return "the token was refused, also after it was read again"
    return ""
