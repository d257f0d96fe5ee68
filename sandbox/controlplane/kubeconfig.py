"""Kubeconfig files: who talks to one control plane, and as whom."""

import base64
import json
from pathlib import Path

from sandbox.controlplane.certificates import Pair


def write_certificate_config(path: Path, server: str, ca_file: Path, pair: Pair) -> Path:
    """A user known by a client certificate."""
    user = {
        "client-certificate-data": _b64(pair.cert.read_bytes()),
        "client-key-data": _b64(pair.key.read_bytes()),
    }
    return _write(path, server, ca_file, user)


def write_token_config(path: Path, server: str, ca_file: Path, token: str) -> Path:
    """A user known by a bearer token: a ServiceAccount."""
    return _write(path, server, ca_file, {"token": token})


def _write(path: Path, server: str, ca_file: Path, user: dict[str, str]) -> Path:
    cluster = {"server": server, "certificate-authority-data": _b64(ca_file.read_bytes())}
    context = {"cluster": "sandbox", "user": "sandbox"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sandbox", "cluster": cluster}],
        "users": [{"name": "sandbox", "user": user}],
        "contexts": [{"name": "sandbox", "context": context}],
        "current-context": "sandbox",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))
    return path


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
