"""A watch as an iterator of events that another thread can end."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any


class EventStream:
    """Events of one watch request, until the server ends it or somebody closes it."""

    def __init__(self, connection: http.client.HTTPSConnection, path: str) -> None:
        self._connection = connection
        self._reading = False
        connection.request("GET", path, headers={"Accept": "application/json"})
        self._socket = connection.sock
        self._answer = connection.getresponse()
        if self._answer.status != http.client.OK:
            raise ConnectionError(f"watch {path}: {self._answer.status}")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._reading = True
        try:
            with contextlib.suppress(OSError, http.client.HTTPException):
                while (line := self._answer.readline()).endswith(b"\n"):
                    yield json.loads(line)
        finally:
            self._connection.close()

    def close(self) -> None:
        # A reader that waits is only woken by a shutdown; it then closes what it reads from.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if not self._reading:
            self._connection.close()
