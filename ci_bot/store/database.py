"""The database file: how it is opened, migrated and written.

SQLite with a write-ahead log. Every write transaction begins with BEGIN IMMEDIATE: a transaction that starts by
reading and then wants to write is refused at once by SQLite, whatever the timeout. Reads do not wait for writers.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from ci_bot.errors import ConfigError

BUSY_TIMEOUT_S = 30
_READING = "lockgate_reading"


class Database:
    """One SQLite file, safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _make_engine(path)
        # Threads queue here rather than at SQLite, whose waiting is a sleep that the unlucky may lose every time.
        self._writing = threading.Lock()

    def migrate(self) -> None:
        """Bring the schema up to date. Raises ConfigError where the file cannot be used."""
        try:
            # Reports and comments are the owner's business only.
            self.path.touch(mode=0o600, exist_ok=True)
            with self._engine.connect() as connection:
                _migrate(connection, self.path)
        except OSError as err:
            raise ConfigError(
                f"{self.path}: cannot be used as the hub's database: {err.strerror}",
                hint="Its folder must be there, and writable for this user.",
            ) from err
        except sa.exc.DBAPIError as err:
            raise ConfigError(
                f"{self.path}: cannot be used as the hub's database: {err.orig}",
                hint="Is it on a local disk, writable, and a Lockgate database? Move it away to start empty.",
            ) from err

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One write transaction: committed at the end, rolled back on an exception."""
        with self._writing, self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent view; takes no write lock."""
        with self._engine.connect().execution_options(**{_READING: True}) as connection:
            yield connection

    def close(self) -> None:
        """Close all connections; the write-ahead log is folded in by SQLite."""
        self._engine.dispose()


def _make_engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(
        f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S}, pool_size=8, max_overflow=24
    )

    @sa.event.listens_for(engine, "connect")
    def _open(connection: Any, _record: Any) -> None:
        # SQLAlchemy begins transactions below, not the driver.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reading = connection.get_execution_options().get(_READING, False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _migrate(connection: sa.Connection, path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise ConfigError(
            f"{path}: written by a newer Lockgate (schema {current})",
            hint="Run that version, or start with another database file.",
        )
    if current is None and sa.inspect(connection).get_table_names():
        raise ConfigError(
            f"{path}: is the database of something else, or of a Lockgate without a schema version",
            hint="Name another file in hub.database; an empty or missing one is set up by itself.",
        )
    command.upgrade(config, "head")
    connection.commit()
