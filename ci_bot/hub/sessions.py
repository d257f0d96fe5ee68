"""The agents that are connected now, and how a hint reaches them.

Lives on the event loop; only `is_connected` is asked from other threads.
"""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ci_bot.core.repositories import normalise
from ci_bot.metrics import AGENTS_CONNECTED, HINTS_DROPPED, HINTS_SENT
from protos.lockgate.v1 import agent_pb2 as pb

QUEUE_LIMIT = 256


class Followed(NamedTuple):
    """What an Application follows: a repository's normalised address, and a branch, tag or HEAD of it."""

    repository: str
    target: str

    @classmethod
    def of(cls, report: Any) -> "Followed":
        target = report.target_revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        return cls(normalise(report.repo), target or "HEAD")


@dataclass(slots=True, eq=False, kw_only=True)
class Session:
    """One agent's open stream. `followed` is what its Applications follow."""

    agent: str
    cluster: str
    epoch: str
    outgoing: asyncio.Queue[Any] = field(default_factory=lambda: asyncio.Queue(QUEUE_LIMIT))
    followed: set[Followed] = field(default_factory=set)
    forget_at: float = math.inf  # monotonic; when what only earlier processes reported is forgotten
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, message: Any) -> bool:
        """Queue a message; False where the agent does not keep up."""
        try:
            self.outgoing.put_nowait(message)
        except asyncio.QueueFull:
            return False
        return True


class Sessions:
    """Who is connected. The newest accepted stream of a name owns it (decision 4)."""

    def __init__(self) -> None:
        self._by_agent: dict[str, Session] = {}

    def open(self, session: Session) -> None:
        """Let `session` own its agent's name; an older stream of it is ended."""
        older = self._by_agent.get(session.agent)
        self._by_agent[session.agent] = session
        AGENTS_CONNECTED.set(len(self._by_agent))
        if older is not None:
            older.ended.set()

    def close(self, session: Session) -> bool:
        """Forget `session`; False where a newer stream owns the name already."""
        if self._by_agent.get(session.agent) is not session:
            return False
        del self._by_agent[session.agent]
        AGENTS_CONNECTED.set(len(self._by_agent))
        return True

    def close_all(self) -> None:
        """End every stream: the hub stops."""
        for session in self._by_agent.values():
            session.ended.set()

    def is_connected(self, agent: str) -> bool:
        return agent in self._by_agent

    def hint(self, repositories: Iterable[str], ref: str, default_branch: str) -> int:
        """Tell the agents that follow `ref` of one of `repositories` to look now; return how many were told.

        A push to a branch nobody follows tells nobody: an agent takes only so many hints a second. A hint that does
        not fit is dropped: the agent has plenty before it, or its own poll will do.
        """
        name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        # Which branch HEAD is is only a guess from the delivery; without one HEAD may be any.
        names = {name, "HEAD"} if default_branch in {"", name} else {name}
        wanted = {
            Followed(normalise(address), each): address
            for address in repositories
            for each in names
        }
        told = 0
        for session in self._by_agent.values():
            for address in {wanted[each] for each in session.followed & wanted.keys()}:
                message = pb.HubMessage(hint=pb.RefreshHint(repo=address, ref=ref))
                if session.send(message):
                    told += 1
                else:
                    HINTS_DROPPED.inc()
        HINTS_SENT.inc(told)
        return told
