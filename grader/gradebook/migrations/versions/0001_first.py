"""The first gradebook: runs, gradings, results, overrides."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and have the database itself refuse to change or delete a grading."""
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("started", sa.String(32), nullable=False),
        sa.Column("finished", sa.String(32)),
        sa.Column("grader_version", sa.String(80), nullable=False),
    )
    op.create_table(
        "gradings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("student", sa.Text, nullable=False),
        sa.Column("exercise", sa.Text, nullable=False),
        sa.Column("submission", sa.String(64), nullable=False),
        sa.Column("exercise_version", sa.String(64), nullable=False),
        sa.Column("grader_version", sa.String(80), nullable=False),
        sa.Column("made", sa.String(32), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("max_score", sa.Float, nullable=False),
        sa.Column("grade", sa.Text, nullable=False),
        sa.Column("grading", sa.LargeBinary, nullable=False),
    )
    key = ["student", "exercise", "submission", "exercise_version", "grader_version"]
    op.create_index("gradings_key", "gradings", key)
    op.create_table(
        "results",
        sa.Column("run", sa.Integer, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("student", sa.Text, nullable=False),
        sa.Column("exercise", sa.Text, nullable=False),
        sa.Column("grading", sa.Integer, sa.ForeignKey("gradings.id"), nullable=False),
        sa.UniqueConstraint("run", "student", "exercise", name="results_once"),
    )
    op.create_table(
        "overrides",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("student", sa.Text, nullable=False),
        sa.Column("exercise", sa.Text, nullable=False),
        sa.Column("submission", sa.String(64), nullable=False),
        sa.Column("part", sa.Text),
        sa.Column("name", sa.Text),
        sa.Column("points", sa.Float, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made", sa.String(32), nullable=False),
    )
    op.create_index("overrides_key", "overrides", ["student", "exercise", "submission"])
    for statement in _KEEP_SQLITE if op.get_bind().dialect.name == "sqlite" else _KEEP_POSTGRESQL:
        op.execute(statement)


_KEEP_SQLITE = [
    f"CREATE TRIGGER {table}_kept_{verb.lower()} BEFORE {verb} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, '{table} are kept as they were made'); END"
    for table in ("gradings", "overrides")
    for verb in ("UPDATE", "DELETE")
]
_KEEP_POSTGRESQL = [
    "CREATE FUNCTION grader_kept() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION '% are kept as they were made', TG_TABLE_NAME; END $$",
    *(
        f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION grader_kept()"
        for table in ("gradings", "overrides")
    ),
]
