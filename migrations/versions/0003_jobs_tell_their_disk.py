"""Jobs tell what they will write to disk"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.add_column(sa.Column("store_bytes", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("scratch_bytes", sa.BigInteger(), nullable=True))
