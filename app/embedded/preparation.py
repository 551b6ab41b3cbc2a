"""The database as the service needs it: migrated, and with a key where others than this machine can reach us."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.db.migrate import upgrade
from app.db.session import Database
from app.settings import Settings


@contextmanager
def prepare_database(settings: Settings) -> Iterator[Database]:
    upgrade(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    try:
        yield database
    finally:
        database.dispose()
