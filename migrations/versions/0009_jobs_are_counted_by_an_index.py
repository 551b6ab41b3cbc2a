"""Jobs are counted by method and status out of an index"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    there = sa.text("deleted_at IS NULL")
    op.create_index("ix_jobs_figures", "jobs", ["method", "status"], sqlite_where=there, postgresql_where=there)
