"""A whole service under load, and faults that strike it at random: several at a time, each healed after a while.

What is drawn in a round follows from its name; which step of which job a fault meets is up to the machine.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from tests.support.api_server import ApiServer
from tests.support.load import Asked, Load
from tests.support.postgres import PostgresServer
from tests.support.processes import descendants_of
from tests.support.valkey import ValkeyServer
from tests.support.workers import Workers

TRAINERS = 2
MOST_FAULTS = 3
#: Between two faults, and until they are healed: some last beyond a lease, some do not.
APART_SECONDS = (0.0, 0.5)
LASTING_SECONDS = (0.2, 4.5)

Process = subprocess.Popen[bytes]


@dataclass
class Service:
    """Its processes and stores. Dead ones are started again in the end, as whoever deploys them would."""

    api: ApiServer
    workers: Workers
    broker: ValkeyServer
    postgres: PostgresServer
    trainers: list[Process] = field(default_factory=list)

    def start(self) -> None:
        self.api.start()
        self.trainers = [self.workers.start(slots=2) for _ in range(TRAINERS)]
        self.api.wait_until_ready()

    def revive(self) -> None:
        self.revive_api()
        self.revive_trainers()

    def revive_api(self) -> None:
        if not self.api.lives():
            self.api.start()

    def revive_trainers(self) -> None:
        living = [trainer for trainer in self.trainers if trainer.poll() is None]
        self.trainers = living + [self.workers.start(slots=2) for _ in range(TRAINERS - len(living))]


Fault = Callable[[Service, random.Random], AbstractContextManager[None]]


@contextmanager
def api_killed(service: Service, _: random.Random) -> Iterator[None]:
    service.api.kill()
    yield
    service.revive_api()


@contextmanager
def api_told_to_end(service: Service, _: random.Random) -> Iterator[None]:
    service.api.end()
    yield
    service.revive_api()


@contextmanager
def trainer_killed(service: Service, draw: random.Random) -> Iterator[None]:
    trainer = draw.choice(service.trainers)
    trainer.kill()
    trainer.wait()
    yield
    service.revive_trainers()


@contextmanager
def trainer_told_to_end(service: Service, draw: random.Random) -> Iterator[None]:
    draw.choice(service.trainers).terminate()
    yield


@contextmanager
def trainer_frozen(service: Service, draw: random.Random) -> Iterator[None]:
    trainer = draw.choice(service.trainers)
    trainer.send_signal(signal.SIGSTOP)
    yield
    trainer.send_signal(signal.SIGCONT)


@contextmanager
def training_process_killed(service: Service, draw: random.Random) -> Iterator[None]:
    children = sorted(pid for trainer in service.trainers for pid in descendants_of(trainer.pid))
    if children:
        with suppress(ProcessLookupError):
            os.kill(draw.choice(children), signal.SIGKILL)
    yield


@contextmanager
def broker_killed(service: Service, draw: random.Random) -> Iterator[None]:
    service.broker.kill()
    if draw.random() < 0.5:
        service.broker.wipe()
    yield
    service.broker.start()


@contextmanager
def broker_frozen(service: Service, _: random.Random) -> Iterator[None]:
    service.broker.freeze()
    yield
    service.broker.thaw()


@contextmanager
def postgres_crashed(service: Service, _: random.Random) -> Iterator[None]:
    service.postgres.crash()
    yield
    service.postgres.start()


@contextmanager
def messages_dropped(service: Service, _: random.Random) -> Iterator[None]:
    yield
    with service.broker.connect() as connection:
        connection.flushall()


#: At most one of each group strikes at a time: what is dead cannot be frozen.
GROUPS: tuple[tuple[Fault, ...], ...] = (
    (api_killed, api_told_to_end),
    (trainer_killed, trainer_told_to_end, trainer_frozen),
    (training_process_killed,),
    (broker_killed, broker_frozen, messages_dropped),
    (postgres_crashed,),
)


@dataclass(frozen=True, slots=True)
class Round:
    """What is to happen, drawn before it happens."""

    name: str
    faults: tuple[Fault, ...]
    draw: random.Random

    @classmethod
    def of(cls, name: str) -> "Round":
        draw = random.Random(name)  # noqa: S311  no secret
        groups = draw.sample(GROUPS, draw.randint(1, MOST_FAULTS))
        return cls(name, tuple(draw.choice(group) for group in groups), draw)

    def __str__(self) -> str:
        return f"{self.name}: {', '.join(fault.__name__ for fault in self.faults)}"

    def run(self, service: Service, dataset_id: str) -> list[Asked]:
        """The jobs that were accepted while the faults came and went. All of the service lives again in the end."""
        with Load(service.api, dataset_id, self.name) as load:
            with ExitStack() as struck:
                for fault in self.faults:
                    time.sleep(self.draw.uniform(*APART_SECONDS))
                    struck.enter_context(fault(service, self.draw))
                time.sleep(self.draw.uniform(*LASTING_SECONDS))
            service.revive()
        return load.asked
