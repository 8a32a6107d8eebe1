"""alembic's entry: runs the steps on the connection that `engine.py` opened."""

from __future__ import annotations

from alembic import context

from grader.gradebook.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
