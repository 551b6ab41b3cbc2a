"""Workers tell their name and their version"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("workers") as table:
        table.add_column(sa.Column("name", sa.String(length=255), nullable=True))
        table.add_column(sa.Column("version", sa.String(length=64), nullable=True))
