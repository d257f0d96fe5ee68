"""Answers that stop or break in the middle: the part of a bad network that a well-behaved server cannot play."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from ci_bot.errors import ForgeUnavailableError
from ci_bot.forges.port import Forge
from ci_bot.forges.registry import ForgeSettings, open_forge

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BROKEN = {
    "stops within the body": (HEAD + b'Content-Length: 100\r\n\r\n{"id":1,', False),
    "ends within the body": (HEAD + b'Content-Length: 100\r\n\r\n{"id":1,', True),
    "ends within a chunk": (HEAD + b'Transfer-Encoding: chunked\r\n\r\nff\r\n{"id":1,', True),
    "says gzip and is not": (
        HEAD + b'Content-Encoding: gzip\r\nContent-Length: 8\r\n\r\n{"id":1}',
        True,
    ),
    "stops within the headers": (HEAD, False),
    "ends within the headers": (HEAD, True),
    "is no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", True),
}


@pytest.fixture
def serve() -> Iterator[Callable[[bytes, bool], Forge]]:
    """Serve the same bytes to every request, then close the connection or leave it standing."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def answer(data: bytes, close: bool) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            accepted.append(connection)
            connection.recv(65536)
            connection.sendall(data)
            if close:
                connection.close()

    def start(data: bytes, close: bool) -> Forge:
        threading.Thread(target=answer, args=(data, close), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        return open_forge(ForgeSettings(url=url, project="g/c", token="t", timeout_s=0.3))

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for connection in accepted:
        connection.close()


@pytest.mark.parametrize("how", BROKEN)
def test_an_answer_that_breaks_in_the_middle_is_an_error_of_ours(
    serve: Callable[[bytes, bool], Forge], how: str
):
    """F3, F4: no exception of the transport crosses the port, so a lost reply is looked after like any other."""
    forge = serve(*BROKEN[how])
    with pytest.raises(ForgeUnavailableError):
        forge.get_project()
