"""Due dates: the terms of each run, and when each submission was handed in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the two columns; what was graded before had no terms."""
    op.add_column("runs", sa.Column("terms", sa.Text))
    op.add_column("results", sa.Column("submitted", sa.String(40)))
