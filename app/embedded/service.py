"""The single-machine service: start in order, keep alive, end in order."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version
from types import FrameType

from app.embedded.errors import CannotStart
from app.embedded.lock import Holder, locked
from app.embedded.member import Member, MemberSpec
from app.embedded.members import broker_member, python_members
from app.embedded.preparation import prepare_stores
from app.embedded.sockets import listen, url_of
from app.processes import ChildStarter
from app.settings import Settings

TICK_SECONDS = 0.1
START_SECONDS = 120.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: The trainer writes its checkpoints while the others still answer; the broker is the last that anyone needs.
END_ORDER = ("trainer", "inference", "api", "broker")


class _Stopped(Exception):
    """A signal came while the members were coming up."""


class EmbeddedService:
    """Every step is told to `say`, in a line or a few, and the address to `welcome` once the service answers there."""

    def __init__(self, settings: Settings, say: Callable[[str], None], welcome: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._welcome = welcome
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._starter = ChildStarter()
        self._members: list[Member] = []
        self._logs_dir = settings.data_dir.absolute() / "logs"

    def run(self) -> None:
        """Until a signal stops it; then in order, and at once at a second signal.

        Raises CannotStart where it cannot be what it should; then nothing is left running.
        """
        with ExitStack() as stack:
            lock = stack.enter_context(locked(self._settings.data_dir.absolute()))
            api = stack.enter_context(closing(listen(self._settings.host, self._settings.port)))
            inference = stack.enter_context(closing(listen("127.0.0.1", _inference_port(self._settings))))
            self._say(f"Pretune {version('pretune')} starts ...")
            self._logs_dir.mkdir(mode=0o700, exist_ok=True)
            database = stack.enter_context(prepare_stores(self._settings))
            stack.enter_context(self._obeying_signals())
            stack.callback(self._end)
            try:
                self._bring_up(python_members(self._settings, database, api, inference))
                lock.tell(Holder(os.getpid(), url_of(api)))
                self._welcome(url_of(api))
                self._watch()
            except _Stopped:
                pass

    def _bring_up(self, others: Sequence[MemberSpec]) -> None:
        """The broker first, alone: it takes 50 ms. The others then start beside each other."""
        if self._settings.broker_url is None:
            self._start([broker_member(self._settings)])
        self._start(others)

    def _start(self, specs: Sequence[MemberSpec]) -> None:
        new = [Member(spec, self._starter, self._logs_dir) for spec in specs]
        for member in new:
            self._members.append(member)
            member.start()
        deadline = time.monotonic() + START_SECONDS
        while not all(member.is_ready() for member in new):
            self._pause()
            for member in self._members:
                if (ending := member.death()) is not None:
                    raise CannotStart(f"{member.spec.name} {ending} while it started:\n{member.log_tail()}")
            if time.monotonic() > deadline:
                late = next(member for member in new if not member.is_ready())
                raise CannotStart(f"{late.spec.name} is not ready after {START_SECONDS:.0f} s:\n{late.log_tail()}")

    def _watch(self) -> None:
        """A member that dies is told of and started again; the others go on, and meet it when it is back."""
        while True:
            self._pause()
            for member in self._members:
                if (ending := member.death()) is not None:
                    self._say(f"{member.spec.name} {ending}; it starts again. The end of its log:\n{member.log_tail()}")
                elif member.start_if_due():
                    self._say(f"{member.spec.name} started again")

    def _end(self) -> None:
        if any(not member.has_ended() for member in self._members):
            self._say("Stopping ... (once more to stop at once)")
        for name in END_ORDER:
            for member in self._members:
                if member.spec.name == name:
                    self._end_one(member)

    def _end_one(self, member: Member) -> None:
        deadline = time.monotonic() + member.spec.stop_seconds
        member.ask_to_end()
        while not member.has_ended():
            if self._hurry.is_set() or time.monotonic() > deadline:
                member.kill()
            time.sleep(TICK_SECONDS / 5)

    def _pause(self) -> None:
        if self._stop.wait(TICK_SECONDS):
            raise _Stopped

    @contextmanager
    def _obeying_signals(self) -> Iterator[None]:
        def obey(_number: int, _frame: FrameType | None) -> None:
            (self._hurry if self._stop.is_set() else self._stop).set()

        before = {number: signal.signal(number, obey) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _inference_port(settings: Settings) -> int:
    """Any, unless somebody wants to know it: Prometheus asks the replica there."""
    return settings.inference_port if "inference_port" in settings.model_fields_set else 0
