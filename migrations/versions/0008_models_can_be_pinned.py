"""Models can be pinned, and replicas tell how many bytes of models they hold"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("models") as table:
        table.add_column(sa.Column("pinned_at", sa.DateTime(timezone=True), nullable=True))
        table.create_index("ix_models_pinned", ["pinned_at"])
    with op.batch_alter_table("workers") as table:
        table.add_column(sa.Column("cache_bytes", sa.BigInteger(), nullable=True))
