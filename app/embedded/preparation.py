"""The database as the service needs it: migrated, and with a key where others than this machine can reach us."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import ArgumentError, DBAPIError

from app.db.migrate import UnknownSchema, upgrade
from app.db.session import Database
from app.embedded.errors import CannotStart
from app.services.keys import NotSecured, secure
from app.settings import Settings


@contextmanager
def prepare_database(settings: Settings) -> Iterator[Database]:
    """Raises CannotStart."""
    migrate(settings)
    database = Database(settings.resolved_database_url)
    try:
        secure(database, settings)
        yield database
    except NotSecured as error:
        raise CannotStart(str(error)) from None
    finally:
        database.dispose()


def migrate(settings: Settings) -> None:
    """Bring the database to this version's schema. Raises CannotStart."""
    try:
        upgrade(settings.resolved_database_url)
    except UnknownSchema as error:
        raise CannotStart(str(error)) from None
    except DBAPIError as error:
        raise CannotStart(f"The database cannot be used: {error.orig}") from None
    except (ArgumentError, ImportError) as error:
        raise CannotStart(f"PRETUNE_DATABASE_URL names no database that we know: {error}") from None
