"""Trainers have labels, and jobs ask for them"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("jobs", "workers"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("labels", sa.JSON(), nullable=True))
