"""What the hub has not confirmed yet. Pure bookkeeping: no clock, no wire, one thread.

Of each Application the outbox keeps the newest report and, before it, the newest report of every *outcome* (an
operation that ended, a rollout that became healthy or degraded at a revision): states in between are superseded,
outcomes never are. So it stays small however long the hub is away, and still nothing that happened is lost.

A sequence number is given when an item is sent. An acknowledgement of (epoch, seq) confirms everything up to seq;
when the stream breaks, what was sent and not confirmed is sent again under new numbers.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from agent.core.report import ApplicationGone, ApplicationReport
from agent.core.states import Health, SyncStatus

Item = ApplicationReport | ApplicationGone

_LATEST = ""
_GONE = "gone"
_ENDED = frozenset({"Succeeded", "Failed", "Error"})


def outcome_of(item: Item) -> str:
    """Return what names an outcome among those of its Application, or "" for a state in between."""
    if isinstance(item, ApplicationGone):
        return _GONE
    operation = item.operation
    phase = operation.phase if operation is not None and operation.phase in _ENDED else ""
    settled = item.sync is SyncStatus.SYNCED and item.health in {Health.HEALTHY, Health.DEGRADED}
    if not settled and phase in {"", "Succeeded"}:
        return _LATEST
    ended_at = operation.revision if operation is not None and phase else ""
    health = item.health.value if settled else ""
    return f"{item.change_revision or item.revision}|{ended_at}|{phase}|{health}"


@dataclass(frozen=True, slots=True)
class _Entry:
    item: Item
    outcome: str


class Outbox:
    """Items in the order in which they are to be sent; per Application that is the order they were offered in."""

    def __init__(self) -> None:
        self._current: dict[str, ApplicationReport] = {}
        self._unsent: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._sent: OrderedDict[int, _Entry] = OrderedDict()
        self._seq = 0

    def __len__(self) -> int:
        """Count what the hub has not confirmed."""
        return len(self._unsent) + len(self._sent)

    @property
    def unsent(self) -> int:
        return len(self._unsent)

    def current(self) -> Mapping[str, ApplicationReport]:
        """Return the newest report of each Application, confirmed or not."""
        return self._current

    def offer(self, item: Item) -> bool:
        """Take an item; returns True if it superseded one that was never sent."""
        if isinstance(item, ApplicationReport):
            self._current[item.app] = item
        else:
            self._current.pop(item.app, None)
        return self._queue(item)

    def resync(self) -> None:
        """Send the current report of every Application again."""
        waiting = {id(entry.item) for entry in self._unsent.values()}
        for report in self._current.values():
            if id(report) not in waiting:
                self._queue(report)

    def send(self) -> tuple[int, Item] | None:
        """Return the next item and its sequence number, or None; it counts as sent from now on."""
        if not self._unsent:
            return None
        _, entry = self._unsent.popitem(last=False)
        self._seq += 1
        self._sent[self._seq] = entry
        return self._seq, entry.item

    def confirm(self, seq: int) -> bool:
        """Forget what was sent up to `seq`; False if no such number was ever given."""
        if seq > self._seq:
            return False
        while self._sent and next(iter(self._sent)) <= seq:
            self._sent.popitem(last=False)
        return True

    def reconnect(self) -> None:
        """Treat what was sent and not confirmed as unsent."""
        again = OrderedDict(((e.item.app, e.outcome), e) for e in self._sent.values())
        self._sent.clear()
        again.update(self._unsent)
        self._unsent = again

    def _queue(self, item: Item) -> bool:
        outcome = outcome_of(item)
        superseded = [
            seq
            for seq, entry in self._sent.items()
            if entry.item.app == item.app and entry.outcome in {_LATEST, outcome}
        ]
        for seq in superseded:
            del self._sent[seq]  # a hub that never confirms must not make this grow
        dropped = [self._unsent.pop((item.app, key), None) for key in {_LATEST, outcome}]
        self._unsent[item.app, outcome] = _Entry(item, outcome)
        return any(dropped)
