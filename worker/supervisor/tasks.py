"""The one Celery task. Its message says only "look": what to run, the database tells."""

from celery import Celery

from app.contract.messages import WAKE_TASK
from worker.supervisor.trainer import Trainer


def register_tasks(app: Celery, trainer: Trainer) -> None:
    @app.task(name=WAKE_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def wake() -> None:
        trainer.fill()
