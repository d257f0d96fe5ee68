"""The running forge: two listeners on one event loop in a thread, and a handle for tests and the demo."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sandbox.certificates import Authority, make_authority
from sandbox.forge import seed as seeds
from sandbox.forge.app import Application
from sandbox.forge.faults import Faults, RequestLog
from sandbox.forge.instance import Instance
from sandbox.forge.lifecycle import Lifecycle
from sandbox.forge.merging import Merging
from sandbox.forge.model import Token
from sandbox.forge.pages import Pages
from sandbox.forge.person import AsUser
from sandbox.forge.webhooks import Webhooks

START_S, STOP_S = 10.0, 10.0


class _Connection(H11Protocol):
    """Uvicorn's own protocol, known to the application so that a fault can hang up."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.app_state = {**self.app_state, "connection": self}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where to listen; 0 is any free port."""

    api: int = 0
    pages: int = 0


class SandboxForge:
    """A GitLab-flavoured forge on loopback. Use as a context manager, or `start` and `stop`.

    Tests stand on: `url`, `pages_url`, `ca_file`, `token(username)`, `project_path`, `clone_url`, `requests`,
    `faults`, `webhooks`, `repository_dir(project)`, `as_user(username)`, `revoke(username)`.
    """

    def __init__(
        self,
        root: Path,
        *,
        seed: Mapping[str, Any] | None = None,
        ports: Ports | None = None,
        authority: Authority | None = None,
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.faults = Faults()
        self.requests = RequestLog()
        self.instance = Instance(root)
        if not self.instance.restored:
            seeds.plant(self.instance, seeds.DEFAULT if seed is None else seed)
        authority = authority or make_authority(root / "ca")
        self.ca_file = str(authority.ca_file)
        self._certificate = authority.issue(f"forge-{os.getpid()}-{id(self):x}")
        self.webhooks = Webhooks(self.instance, self.ca_file)
        self._lifecycle = Lifecycle(self.instance)
        self._merging = Merging(self.instance, self._lifecycle)
        ports = ports or Ports()
        self._sockets = [_listen(ports.api), _listen(ports.pages)]
        self.instance.url = f"https://127.0.0.1:{self._sockets[0].getsockname()[1]}"
        self.instance.pages_url = f"http://127.0.0.1:{self._sockets[1].getsockname()[1]}"
        self._applications = self._make_applications()
        self._servers = self._make_servers()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="forge", daemon=True)
        self._ready = threading.Event()

    def _make_applications(self) -> list[Application]:
        pages = Pages(self.instance, self._lifecycle, self._merging)
        return [
            Application(self.instance, self.faults, self.requests),
            Application(self.instance, self.faults, self.requests, pages.answer),
        ]

    def _make_servers(self) -> list[uvicorn.Server]:
        made = []
        for app, secure in zip(self._applications, (True, False), strict=True):
            config = uvicorn.Config(
                app,
                http=_Connection,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
                ssl_certfile=str(self._certificate[0]) if secure else None,
                ssl_keyfile=str(self._certificate[1]) if secure else None,
            )
            made.append(uvicorn.Server(config))
        return made

    # --- life ---

    def start(self) -> Self:
        self.webhooks.start()
        self._thread.start()
        if not self._ready.wait(START_S):
            raise RuntimeError("the forge did not start; see the traceback of thread 'forge'")
        self._write_facts()
        return self

    def stop(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hang_up)
        self._thread.join(STOP_S)
        self.webhooks.stop()
        for listener in self._sockets:
            listener.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _hang_up(self) -> None:
        """Close what is open, kept-alive connections and hanging faults too, and let the servers end."""
        for application in self._applications:
            application.closing.set()
        for server in self._servers:
            server.should_exit = True
            for connection in list(server.server_state.connections):
                connection.transport.abort()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            for server, listener in zip(self._servers, self._sockets, strict=True):
                group.create_task(server.serve(sockets=[listener]))
            while not all(server.started for server in self._servers):  # noqa: ASYNC110
                await asyncio.sleep(0.005)  # uvicorn has no event to wait for
            self._ready.set()

    def _write_facts(self) -> None:
        """Write `forge.json`: where everything is, and the tokens (mode 0600)."""
        facts = {
            "url": self.url,
            "pages_url": self.pages_url,
            "ca_file": self.ca_file,
            "pid": os.getpid(),
            "projects": {
                p.path: {"id": p.id, "clone_url": self.instance.clone_url(p)}
                for p in self.instance.state.projects
            },
            "tokens": {u.username: self.token(u.username) for u in self.instance.state.users},
        }
        new = self.root / "forge.json.new"
        new.touch(mode=0o600)
        new.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        new.replace(self.root / "forge.json")

    # --- what a test asks ---

    @property
    def url(self) -> str:
        return self.instance.url

    @property
    def pages_url(self) -> str:
        return self.instance.pages_url

    @property
    def project_path(self) -> str:
        return self.instance.project(1).path

    @property
    def clone_url(self) -> str:
        return self.instance.clone_url(self.instance.project(1))

    def token(self, username: str) -> str:
        return self._token(username).secret

    def _token(self, username: str) -> Token:
        user = self.instance.user_named(username)
        return next(t for t in self.instance.state.tokens if t.user_id == user.id)

    def revoke(self, username: str) -> None:
        """Revoke a user's token, as its owner would in the settings."""
        with self.instance.lock:
            self._token(username).revoked = True
            self.instance.save()

    def expire(self, username: str) -> None:
        """Let a user's token run out."""
        with self.instance.lock:
            self._token(username).expires_at = "2000-01-01"
            self.instance.save()

    def narrow(self, username: str, *scopes: str) -> None:
        """Leave a user's token these scopes only."""
        with self.instance.lock:
            self._token(username).scopes = list(scopes)
            self.instance.save()

    def repository_dir(self, project: str = "") -> Path:
        found = self.instance.find_project(project or self.project_path)
        if found is None:
            raise LookupError(f"no project {project!r}")
        return self.instance.repository(found).directory

    def as_user(self, username: str, project: str = "") -> AsUser:
        """Act as a person does on the pages: rights are checked, nothing goes over the wire."""
        found = self.instance.find_project(project or self.project_path)
        if found is None:
            raise LookupError(f"no project {project!r}")
        return AsUser(self.instance, self._lifecycle, self._merging, username, found)


def _listen(port: int) -> socket.socket:
    # asyncio turns Nagle's delay off only where the protocol is named: 40 ms an answer otherwise.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener
