"""Whether a trainer lives, by its heartbeats in the database."""

from sqlalchemy.exc import SQLAlchemyError

from app.db import workers
from app.db.session import Database, now
from app.settings import Settings


def trainer_lives(settings: Settings) -> bool:
    """Whether any trainer of this database has been heard of lately."""
    database = Database(settings.resolved_database_url)
    try:
        with database.reading() as session:
            since = now(session) - settings.silence
            return bool(workers.live(session, "trainer", since))
    except SQLAlchemyError:
        return False
    finally:
        database.dispose()
