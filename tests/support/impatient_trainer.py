"""`celery -A tests.support.impatient_trainer worker`: tries the broker again at once, where kombu waits for 2 to 30 s.

So it goes through the tries of an hour in seconds; Celery has no setting for the pauses between them.
"""

from typing import Any

from kombu.connection import Connection

from tests.support.scripted_trainer import app

PAUSE_SECONDS = 0.02


class ImpatientConnection(Connection):
    def ensure_connection(self, *arguments: Any, **options: Any) -> Any:
        pauses = {"interval_start": PAUSE_SECONDS, "interval_step": 0, "interval_max": PAUSE_SECONDS}
        return super().ensure_connection(*arguments, **options | pauses)  # type: ignore[no-untyped-call]


app.amqp.Connection = ImpatientConnection
