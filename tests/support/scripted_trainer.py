"""`celery -A tests.support.scripted_trainer worker`: a real trainer whose training processes are scripted."""

import sys

from app.settings import Settings
from worker.celery_app import make_app

SCRIPTED_COMMAND = (sys.executable, "-m", "tests.support.scripted_training")

app = make_app(Settings(), SCRIPTED_COMMAND)
