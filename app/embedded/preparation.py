"""The database as the service needs it: migrated, and with a key where others than this machine can reach us."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.db.migrate import upgrade
from app.db.session import Database
from app.embedded.errors import CannotStart
from app.services.keys import NotSecured, secure
from app.settings import Settings


@contextmanager
def prepare_database(settings: Settings) -> Iterator[Database]:
    """Raises CannotStart."""
    upgrade(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    try:
        secure(database, settings)
        yield database
    except NotSecured as error:
        raise CannotStart(str(error)) from None
    finally:
        database.dispose()
