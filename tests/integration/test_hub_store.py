"""Many writers on one database file: nothing is lost, nothing is locked out (H2)."""

import threading
import time
from pathlib import Path

from ci_bot.store import inbox, outbox
from ci_bot.store.database import Database

WRITERS, PROCESSES, SECONDS = 50, 5, 20.0


def test_fifty_writers_lose_nothing(tmp_path: Path):
    """H2: each transaction reads, then writes; 50 at a time for 20 s, each row is there afterwards."""
    path = tmp_path / "hub.db"
    # Opened as often as processes would: threads of one share its lock, the others meet at SQLite's.
    databases = [Database(path) for _ in range(PROCESSES)]
    databases[0].migrate()
    stored: list[int] = [0] * WRITERS
    failures: list[Exception] = []
    until = time.monotonic() + SECONDS

    def write(writer: int) -> None:
        database = databases[writer % PROCESSES]
        project = f"group/{writer % 5}"
        try:
            while time.monotonic() < until:
                name = f"{writer}-{stored[writer]}"
                with database.write() as connection:
                    inbox.list_undone(connection, f"nobody/{writer}")
                    delivery = inbox.Delivery(project=project, delivery=name, kind="push")
                    assert inbox.save_delivery(connection, delivery, time.time())
                    outbox.put(connection, project, outbox.Owed(key=name, body={}), time.time())
                stored[writer] += 1
        except Exception as err:  # noqa: BLE001 - reported by the test
            failures.append(err)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS + 60)
    assert failures == []
    with databases[0].read() as connection:
        rows = sum(len(inbox.list_undone(connection, f"group/{n}")) for n in range(5))
        owed = outbox.count_owed(connection)
    for database in databases:
        database.close()
    print(
        f"{sum(stored)} transactions by {WRITERS} writers in {SECONDS:.0f} s, least {min(stored)}"
    )
    assert rows == sum(stored)
    assert owed == {False: sum(stored)}
    assert min(stored) > 0
