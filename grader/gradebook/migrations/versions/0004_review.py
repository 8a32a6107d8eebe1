"""Review: who set a mark, what people wrote, what they took back, and where each notebook lay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the tables; the new tables are kept as they were made, as overrides are."""
    op.add_column("overrides", sa.Column("author", sa.Text))
    op.add_column("results", sa.Column("path", sa.Text))
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("student", sa.Text, nullable=False),
        sa.Column("exercise", sa.Text, nullable=False),
        sa.Column("submission", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("item", sa.Text),
        sa.Column("part", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("cell", sa.Integer),
        sa.Column("line", sa.Integer),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("author", sa.Text),
        sa.Column("made", sa.String(32), nullable=False),
    )
    op.create_index("notes_key", "notes", ["student", "exercise", "submission"])
    op.create_table(
        "withdrawn",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("student", sa.Text, nullable=False),
        sa.Column("author", sa.Text),
        sa.Column("made", sa.String(32), nullable=False),
        sa.UniqueConstraint("source", "row", name="withdrawn_once"),
    )
    for statement in _KEEP_SQLITE if op.get_bind().dialect.name == "sqlite" else _KEEP_POSTGRESQL:
        op.execute(statement)


_TABLES = ("notes", "withdrawn")
_KEEP_SQLITE = [
    f"CREATE TRIGGER {table}_kept_{verb.lower()} BEFORE {verb} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, '{table} are kept as they were made'); END"
    for table in _TABLES
    for verb in ("UPDATE", "DELETE")
]
_KEEP_POSTGRESQL = [
    f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION grader_kept()"
    for table in _TABLES
]
