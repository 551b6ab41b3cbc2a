"""What the health checks of containers ask. Answers within seconds, whatever is wrong."""

import urllib.request
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from app.db import workers
from app.db.session import Database, now
from app.settings import Settings

TIMEOUT_SECONDS = 2.5
MISSED_BEATS = 3


def answers_ok(url: str) -> bool:
    request = urllib.request.Request(url)  # noqa: S310  the operator's own address
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


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
