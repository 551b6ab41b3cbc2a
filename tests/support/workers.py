"""Trainers as they are deployed: real Celery workers, each a process that a test may kill, stop and freeze."""

import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import func, select

from app.db.session import Database
from app.db.tables import WorkerRow
from app.settings import Settings
from tests.support.waiting import wait_until

SCRIPTED = "tests.support.scripted_trainer"
OPTIONS = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")


class Workers:
    """Starts them with `settings`, and ends those that are left with SIGKILL. Their logs lie in `folder`."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, application: str = SCRIPTED, **changes: object) -> "subprocess.Popen[bytes]":
        """`changes` are settings of this one."""
        number = len(self.started)
        name = f"trainer-{number}-{os.getpid()}@localhost"
        command = (sys.executable, "-m", "celery", "-A", application, "worker", "--hostname", name, *OPTIONS)
        environment = dict(os.environ) | environment_of(self._settings, **changes)
        with self.log(number).open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        self.started.append(process)
        return process

    def wait_until_live(self) -> None:
        """As many as were started have told the database that they live; from then on they hear messages soon."""
        database = Database(self._settings.resolved_database_url)
        wait_until(lambda: _num_trainers(database) >= len(self.started), 60, "all workers live")
        database.dispose()

    def log(self, number: int) -> Path:
        return self._folder / f"worker-{number}.log"

    def kill_all(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()


def _num_trainers(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).where(WorkerRow.role == "trainer")) or 0


def environment_of(settings: Settings, **changes: object) -> dict[str, str]:
    """What makes another process read these settings."""
    changed = settings.model_copy(update=changes)
    names = settings.model_fields_set | set(changes)
    return {f"PRETUNE_{name.upper()}": str(getattr(changed, name)) for name in names}
