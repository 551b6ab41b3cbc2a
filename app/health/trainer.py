"""Whether a trainer lives, by its heartbeats in the database."""

from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from app.db import workers
from app.db.session import Database, now
from app.settings import Settings

MISSED_BEATS = 3


def trainer_lives(settings: Settings) -> bool:
    """Whether any trainer of this database has been heard of lately."""
    database = Database(settings.resolved_database_url)
    try:
        with database.reading() as session:
            since = now(session) - timedelta(seconds=MISSED_BEATS * settings.heartbeat_seconds)
            return bool(workers.live(session, "trainer", since))
    except SQLAlchemyError:
        return False
    finally:
        database.dispose()
