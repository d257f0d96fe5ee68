"""Looks for secrets in what left a process: as they are, and in every spelling a careless hand may give them.

`find_leaks` is a function over bytes and knows nothing of where they come from. What is packed with gzip is unpacked.
"""

import base64
import contextlib
import json
import socket
import threading
import zlib
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

GZIP = b"\x1f\x8b\x08"
DEEPEST = 3


def spellings(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each way of writing a secret, named."""
    yield "raw", secret
    yield "hex", secret.hex().encode()
    yield "hex", secret.hex().upper().encode()
    for before in range(3):
        # Inside something longer base64 depends on where it begins: keep what does not touch the neighbours.
        padded = bytes(before) + secret
        whole = len(padded) // 3 * 3
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield "base64", encode(padded[:whole])[4 if before else 0 :]
    text = secret.decode()
    for quoted in (quote(text, safe=""), quote(text), quote_plus(text)):
        yield "url", quoted.encode()
    for ascii_only in (True, False):
        yield "json", json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()


def find_leaks(data: bytes, secrets: Mapping[str, bytes], depth: int = 0) -> set[tuple[str, str]]:
    """Return which secrets are in `data`, and how they are written there."""
    found = {
        (name, how)
        for name, secret in secrets.items()
        for how, written in spellings(secret)
        if written in data
    }
    if depth < DEEPEST:
        for packed in _unpacked(data):
            found |= {(n, f"gzip {how}") for n, how in find_leaks(packed, secrets, depth + 1)}
    return found


def _unpacked(data: bytes) -> Iterator[bytes]:
    at = data.find(GZIP)
    while at >= 0:
        with contextlib.suppress(zlib.error):  # three bytes may only look like a beginning
            yield zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data[at:])
        at = data.find(GZIP, at + 1)


class Relay:
    """A loopback TCP relay that keeps every byte of both directions."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._chunks: list[tuple[int, bytes]] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def recorded(self) -> bytes:
        """Return what went through, each direction of each connection in one piece."""
        by_flow: dict[int, list[bytes]] = {}
        for flow, chunk in list(self._chunks):
            by_flow.setdefault(flow, []).append(chunk)
        return b"\n".join(b"".join(chunks) for chunks in by_flow.values())

    def close(self) -> None:
        for each in [self._listener, *self._sockets]:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        flow = source.fileno()
        try:
            while chunk := source.recv(65536):
                self._chunks.append((flow, chunk))
                sink.sendall(chunk)
        except OSError:
            pass
        finally:
            for each in (source, sink):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
