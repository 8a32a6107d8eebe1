"""Finding a student's results, whichever runs they are of: without it every submission read all that were there."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("results_by_student", "results", ["student", "exercise", "run"])
