"""What Alembic runs for each migration: on the connection, and in the transaction, that it was given."""

from alembic import context

from phonybrains.readerstudy.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    version_table="phonybrains_version",
)
context.run_migrations()
