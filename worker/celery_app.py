"""The trainer's entry point: `celery -A worker.celery_app worker`. Nothing here or below imports torch.

That command needs no options: pool, slots and queues come from the settings (`PRETUNE_SLOTS`, `PRETUNE_DEVICE`, ...).
`pretune up` and the containers add `--without-gossip --without-mingle`, which spare a start-up second: trainers need
not know each other, because they meet in the database.

SIGTERM: every running job writes a last checkpoint and goes back to the queue, then the process ends (in about two
seconds where a checkpoint is small). The grace given by whoever sends it must cover a checkpoint and ten seconds.
A broker that is away, even at the start, only delays: idle slots look into the database by themselves.

The settings of Celery are measured ones: threads, because the work is done by child processes; early acknowledgement,
because the row and not the message is the truth; no prefetching, because a parked message wakes nobody.
"""

from typing import Any

from celery import Celery, bootsteps, signals

from app.logging import configure_logging
from app.settings import Settings
from app.tracing import traces
from worker.supervisor.child import TRAINING_COMMAND
from worker.supervisor.device import detect_device, num_slots, queues_of
from worker.supervisor.tasks import register_tasks
from worker.supervisor.trainer import Trainer


def make_app(settings: Settings, command: tuple[str, ...] = TRAINING_COMMAND) -> Celery:
    """A Celery application whose workers are trainers; `command` starts a training process."""
    app = Celery("pretune", broker=settings.resolved_broker_url)
    app.conf.update(_configuration(settings))
    app.steps["worker"].add(_trainer_step(settings, command))
    return app


def _configuration(settings: Settings) -> dict[str, Any]:
    queues = queues_of(detect_device(settings.device))
    return {
        "worker_pool": "threads",
        "worker_concurrency": num_slots(settings),
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "task_acks_late": False,
        "task_ignore_result": True,
        "task_queues": {name: {} for name in queues},
        "task_default_queue": queues[0],
        "accept_content": ["json"],
        "task_serializer": "json",
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {"socket_connect_timeout": 2.0, "socket_keepalive": True},
    }


def _trainer_step(settings: Settings, command: tuple[str, ...]) -> type[bootsteps.StartStopStep]:
    class TrainerStep(bootsteps.StartStopStep):  # type: ignore[misc]
        """Starts the trainer before the consumer, which waits for the broker; signals stop it, with a broker or not."""

        requires = ("celery.worker.components:Pool",)

        def __init__(self, worker: Any, **options: Any) -> None:
            super().__init__(worker, **options)
            self._trainer = Trainer(settings, command)
            register_tasks(worker.app, self._trainer)

        def start(self, worker: Any) -> None:
            traces.start("trainer")
            signals.worker_shutting_down.connect(self._shut_down)
            signals.worker_shutdown.connect(self._stop)
            self._trainer.start()

        def stop(self, worker: Any) -> None:
            self._stop()

        terminate = stop

        def _shut_down(self, **_: Any) -> None:
            self._trainer.shut_down()

        def _stop(self, **_: Any) -> None:
            self._trainer.stop()
            traces.stop()

    return TrainerStep


app = make_app(Settings())
signals.setup_logging.connect(lambda **_: configure_logging(), weak=False)  # in place of Celery's own
