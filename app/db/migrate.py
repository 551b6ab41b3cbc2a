"""Brings a database to the schema of this version. Several processes may do so at once: one does, the others wait."""

from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from app.db.session import Database

#: Any number, as long as every version uses the same: whoever holds this PostgreSQL lock migrates.
MIGRATION_LOCK = 7_388_202_111


class UnknownSchema(Exception):
    """The database was made by another version of Pretune, a newer one as a rule."""


def upgrade(url: str, revision: str = "head") -> None:
    """Raises UnknownSchema; then nothing was changed."""
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            command.upgrade(config_for(connection), revision)
    except CommandError as error:
        raise UnknownSchema(
            f"The database has a schema that this version of Pretune does not know ({error}). Use the newer version."
        ) from error
    finally:
        database.dispose()


def newest_revision() -> str | None:
    """What a database of this version is at; None before there is any revision."""
    return revisions().get_current_head()


def revisions() -> ScriptDirectory:
    """All that there are."""
    return ScriptDirectory.from_config(config_for())


def config_for(connection: Connection | None = None) -> Config:
    """What Alembic's commands ask for; those that touch a database need the connection."""
    config = Config()
    config.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
