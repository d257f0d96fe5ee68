"""The pages."""

from sandbox.forge.instance import Instance
from sandbox.forge.lifecycle import Lifecycle
from sandbox.forge.merging import Merging
from sandbox.forge.wire import Reply


class Pages:
    def __init__(self, instance: Instance, lifecycle: Lifecycle, merging: Merging) -> None:
        self._instance = instance

    def answer(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes
    ) -> tuple[Reply, str]:
        return Reply(status=404, body=b"not here", content_type="text/plain"), ""
