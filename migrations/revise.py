"""`python -m migrations.revise "Sweeps have a budget"`: a new revision, drafted from what `app.db.tables` now says.

Read and mend what it writes: Alembic sees columns and tables, but neither renames nor data.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command

from app.db.migrate import config_for, newest_revision, upgrade
from app.db.session import Database


def revise(message: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'newest.db'}"
        upgrade(url)
        database = Database(url)
        with database.engine.connect() as connection:
            number = f"{int(newest_revision() or 0) + 1:04}"
            command.revision(config_for(connection), message, autogenerate=True, rev_id=number)
        database.dispose()


if __name__ == "__main__":
    revise(" ".join(sys.argv[1:]))
