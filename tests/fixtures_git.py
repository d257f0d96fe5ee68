"""A git server over https that can also behave badly: real `git http-backend` behind a throw-away CA.

`GitServer.misbehave` is asked first; where it answers True it has written the response itself.
"""

import base64
import contextlib
import datetime as dt
import ipaddress
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

GIT_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "nana",
    "GIT_AUTHOR_EMAIL": "nana@example.test",
    "GIT_COMMITTER_NAME": "nana",
    "GIT_COMMITTER_EMAIL": "nana@example.test",
}


def git(folder: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run git on behalf of a person."""
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=GIT_ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
        input=stdin,
    ).stdout.strip()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate for loopback; returns (certificate, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lockgate test")])
    now = dt.datetime.now(dt.UTC)
    alternatives = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "ca.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "GitServer"

    def log_message(self, *_: Any) -> None:
        """Tests read `server.requests` instead."""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_GET  # noqa: N815 - the name http.server calls

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _serve(self) -> None:
        body = self._body()
        with self.server.lock:
            self.server.requests.append((self.path, self.headers.get("Authorization", "")))
        if self.server.misbehave is not None and self.server.misbehave(self):
            return
        user = self._user()
        if self.server.passwords and not user:
            self.say(401, WWW_Authenticate='Basic realm="git"')
            return
        if "git-receive-pack" in self.path and user not in self.server.writers:
            self.say(403, b"You are not allowed to push")
            return
        self._backend(body, user)

    def _user(self) -> str:
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return ""
        user, _, password = base64.b64decode(encoded).decode().partition(":")
        return user if self.server.passwords.get(user) == password else ""

    def _backend(self, body: bytes, user: str) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": user,
        }
        out = subprocess.run(
            ["git", "http-backend"], env=environment, input=body, capture_output=True, check=False
        ).stdout
        head, _, content = out.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200 OK").split()[0])
        self.say(status, content, **headers)


class GitServer(ThreadingHTTPServer):
    """Serves the bare repositories below `root`; `passwords` empty means anonymous reading."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repositories"
        self.root.mkdir(parents=True)
        self.ca_file, key_file = make_certificate(folder)
        self.passwords: dict[str, str] = {}
        self.writers: set[str] = set()
        self.misbehave: Callable[[Handler], bool] | None = None
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, key_file)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""

    def create(self, name: str, *, object_format: str = "sha1") -> Path:
        bare = self.root / name
        git(
            self.root,
            "init",
            "-q",
            "--bare",
            "-b",
            "main",
            f"--object-format={object_format}",
            name,
        )
        git(bare, "config", "uploadpack.allowFilter", "true")
        git(bare, "config", "http.receivepack", "true")
        return bare


class Author:
    """A person with a clone of one repository."""

    def __init__(self, bare: Path, folder: Path) -> None:
        self.folder = folder
        object_format = git(bare, "rev-parse", "--show-object-format")
        folder.mkdir(parents=True)
        git(folder, "init", "-q", "-b", "main", f"--object-format={object_format}")
        git(folder, "remote", "add", "origin", str(bare))

    def commit(
        self, files: dict[str, str], message: str = "change", *, branch: str = "main"
    ) -> str:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "--allow-empty", "-m", message)
        git(self.folder, "push", "-q", "--force", "origin", f"HEAD:refs/heads/{branch}")
        return git(self.folder, "rev-parse", "HEAD")


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[GitServer]:
    server = GitServer(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    """A git server over https with no repositories yet."""
    with serving(tmp_path / "server") as server:
        yield server
