"""One trainer: its slots, its spare processes, its threads. Put together here, started and stopped by Celery's signals.

Threads: `poll-N` look for work that no message told of; `upkeep` says that we live and does the recurrent duties,
`sweeper` those that take long.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.contract.job import TERMINAL, JobStatus
from app.db import workers
from app.db.ids import new_id
from app.db.session import Database, now
from app.dispatch import Dispatcher, queues_for
from app.housekeeping import Duty, Housekeeping, prompt_duties, slow_duties, sweep_duty
from app.processes import ChildStarter
from app.services.sweeps.controller import SweepController
from app.settings import Settings
from app.storage import open_store
from worker.cache import Cache
from worker.supervisor.child import TRAINING_COMMAND, ChildOptions, TrainingChild, start_child
from worker.supervisor.device import claimable_devices, detect_device, gpus_of, num_slots, queues_of
from worker.supervisor.environment import source_root, training_environment
from worker.supervisor.places import Places
from worker.supervisor.room import free_room, tell_shortage
from worker.supervisor.runner import Runner, claim_next
from worker.supervisor.scratch import Scratch
from worker.supervisor.slots import Slots
from worker.supervisor.spares import Spares

SWEEP_SECONDS = 600.0
UPKEEP_TICK_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class Trainer:
    """`command` starts a training process; tests give one that fails in chosen ways."""

    def __init__(self, settings: Settings, command: tuple[str, ...] = TRAINING_COMMAND) -> None:
        self.id = new_id("wrk")
        self._settings = settings
        self._device = detect_device(settings.device)
        self._database = Database(settings.resolved_database_url)
        self._dispatcher = Dispatcher(settings)
        self._store = open_store(settings)
        self._scratch = Scratch(settings.scratch_dir, self.id)
        self._starter = ChildStarter()
        self._command = command
        self._num_slots = num_slots(settings)
        self._shutdown = threading.Event()
        self._stopped = False
        self._sweeps = SweepController(self._database, self._store, settings, self._shutdown.is_set)
        self._housekeeping = self._duties((*prompt_duties(settings), sweep_duty(self._sweeps, settings)))
        self._collecting = self._duties(slow_duties(self._store, settings, self._shutdown.is_set))
        self._gpus = gpus_of(self._device)
        self._runners = [self._runner(gpu) for gpu in self._gpus or (None,)]
        self._places = Places(self._runners)
        self._slots = Slots(self._num_slots, self._run_next, self._shutdown)
        self._threads = [self._thread("upkeep", self._upkeep), self._thread("sweeper", self._sweep)]
        self._threads += [self._thread(f"poll-{number}", self._poll) for number in range(self._num_slots)]

    def start(self) -> None:
        """Warm the spare processes, and begin to look for work."""
        _log.info("trainer_started", worker_id=self.id, device=self._device, gpus=self._gpus, slots=self._num_slots)
        for runner in self._runners:
            runner.spares.refill()
        for thread in self._threads:
            thread.start()

    def fill(self) -> None:
        """Run what is queued, as far as a slot is free."""
        self._slots.fill()

    def shut_down(self) -> None:
        """Ask every running job for a last checkpoint and give it back to the queue. Returns at once; see `stop`."""
        self._shutdown.set()

    def stop(self) -> None:
        """Wait until no job runs here any more, and leave nothing behind. Celery calls it on more than one way out."""
        if self._stopped:
            return
        self._stopped = True
        self.shut_down()
        for thread in self._threads:
            thread.join()
        self._slots.drain()
        for runner in self._runners:
            runner.spares.close()
        self._dispatcher.close()
        self._scratch.close()
        self._database.dispose()

    def _run_next(self) -> bool:
        with self._places.one() as runner:
            return self._run_next_by(runner)

    def _run_next_by(self, runner: Runner) -> bool:
        devices, room = claimable_devices(self._device), free_room(self._settings)
        try:
            claimed = claim_next(
                self._database,
                self.id,
                devices,
                self._settings.lease_seconds,
                labels=self._settings.labels,
                room=room,
                max_running=self._settings.max_running_jobs,
            )
            if claimed is None and room is not None:
                tell_shortage(self._database, devices, room, self._settings.labels)
        except SQLAlchemyError as error:
            _log.warning("claim_failed", error=str(error))
            return False
        if claimed is None:
            return False
        try:
            runner.run(*claimed)
        except Exception:  # noqa: BLE001  the edge of a slot, which outlives whatever breaks one attempt
            _log.exception("attempt_abandoned", job_id=claimed[0].id)
            return False
        return True

    def _settled(self, status: JobStatus, device: str) -> None:
        """An attempt has ended: let others hear of the job it gave back, and of those that waited for its success."""
        if status is JobStatus.QUEUED:
            self._dispatcher.wake(queues_for(device))
        if status in TERMINAL:
            self._guarded(self._housekeeping.release_waiting)
        if status in TERMINAL or status is JobStatus.PAUSED:
            self._guarded(self._advance_sweeps)

    def _advance_sweeps(self) -> None:
        """At once, when a trial may have come to its end; the duty is the net below."""
        with self._database.reading() as session:
            if not self._sweeps.is_due(session):
                return
        self._housekeeping.wake(self._sweeps.round())

    def _runner(self, gpu: str | None) -> Runner:
        """Its jobs run on one GPU, or on what there is where none is named."""
        settings = self._settings
        environment = training_environment(settings, gpu)
        options = ChildOptions(self._command, environment, source_root(), settings.training_memory_bytes)

        def start() -> TrainingChild:
            return start_child(self._starter, options, self._scratch.new_log())

        return Runner(
            settings=settings,
            database=self._database,
            store=self._store,
            spares=Spares(start, math.ceil(self._num_slots / max(1, len(self._gpus)))),
            scratch=self._scratch,
            shutdown=self._shutdown,
            settled=self._settled,
        )

    def _poll(self) -> None:
        while not self._shutdown.wait(self._settings.idle_poll_seconds):
            self._guarded(self.fill)

    def _upkeep(self) -> None:
        self._do_until_shutdown(
            {
                self._beat: self._settings.heartbeat_seconds,
                self._housekeeping.round: self._settings.housekeeping_seconds,
            }
        )
        self._guarded(self._say_goodbye)

    def _sweep(self) -> None:
        """What may take long, so that heartbeats do not wait for it."""
        self._guarded(self._check_store)
        self._do_until_shutdown(
            {
                self._scratch.sweep: SWEEP_SECONDS,
                self._sweep_cache: SWEEP_SECONDS,
                self._collecting.round: min(SWEEP_SECONDS, self._settings.garbage_seconds),
            }
        )

    def _check_store(self) -> None:
        """Whoever reads the log of a start need not wait for a job to tell of wrong credentials."""
        try:
            self._store.check()
        except OSError as error:
            _log.error("store_unusable", error=str(error))

    def _sweep_cache(self) -> None:
        Cache(self._settings.cache_dir).shrink(self._settings.cache_bytes)

    def _do_until_shutdown(self, every_seconds: Mapping[Callable[[], object], float]) -> None:
        due_at = dict.fromkeys(every_seconds, 0.0)
        while True:
            for chore, seconds in every_seconds.items():
                if time.monotonic() >= due_at[chore]:
                    due_at[chore] = time.monotonic() + seconds
                    self._guarded(chore)
            if self._shutdown.wait(min(UPKEEP_TICK_SECONDS, *every_seconds.values())):
                break

    def _beat(self) -> None:
        with self._database.transaction() as session:
            workers.heartbeat(
                session,
                id=self.id,
                role="trainer",
                queues=queues_of(self._device),
                devices=[self._device],
                labels=self._settings.labels,
                address=None,
                loaded=[],
                at=now(session),
            )

    def _say_goodbye(self) -> None:
        with self._database.transaction() as session:
            workers.remove(session, self.id)

    def _guarded(self, chore: Callable[[], object]) -> None:
        try:
            chore()
        except Exception:  # noqa: BLE001  the edge of a thread whose end would look like the trainer's death
            _log.exception("chore_failed", chore=chore.__name__)

    def _duties(self, duties: Sequence[Duty]) -> Housekeeping:
        return Housekeeping(self._database, self._dispatcher, self._settings, duties, owner=self.id)

    def _thread(self, name: str, target: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=target, name=name)
