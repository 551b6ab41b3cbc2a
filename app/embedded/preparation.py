"""The stores as the service needs them: the database migrated, and with a key where others than this machine can reach
us; the artifact store one that can be written."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import ArgumentError, DBAPIError

from app.db.migrate import UnknownSchema, upgrade
from app.db.session import Database
from app.embedded.errors import CannotStart
from app.services.keys import NotSecured, secure
from app.settings import Settings
from app.storage import REQUEST_PATIENCE_SECONDS, open_store


@contextmanager
def prepare_stores(settings: Settings) -> Iterator[Database]:
    """Raises CannotStart."""
    migrate(settings)
    _check_store(settings)
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


def _check_store(settings: Settings) -> None:
    try:
        open_store(settings, REQUEST_PATIENCE_SECONDS).check()
    except OSError as error:
        raise CannotStart(f"The artifact store cannot be used: {error.strerror}.") from None
