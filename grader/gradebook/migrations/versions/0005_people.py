"""Who students are: what platforms know them by, the names they were given, and who has longer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the three tables; of what was graded before nothing is known but the names."""
    op.create_table(
        "identities",
        sa.Column("student", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.UniqueConstraint("student", "kind", "value", name="identities_once"),
    )
    op.create_table(
        "renames",
        sa.Column("handed_in", sa.Text, primary_key=True),
        sa.Column("student", sa.Text, nullable=False),
    )
    op.create_table(
        "extensions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("student", sa.Text, nullable=False),
        sa.Column("exercise", sa.Text),
        sa.Column("due", sa.String(40)),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("made", sa.String(32), nullable=False),
    )
    op.create_index("renames_by_student", "renames", ["student"])
    op.create_index("extensions_by_student", "extensions", ["student"])
