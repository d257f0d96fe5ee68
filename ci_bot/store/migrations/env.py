"""Alembic's entry: migrations run on the connection `ci_bot.store.database` hands over."""

from alembic import context

from ci_bot.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
