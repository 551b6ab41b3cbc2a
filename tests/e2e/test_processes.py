"""`pretune up` as processes: it ends in order, leaves nothing behind, heals, and keeps what it was given."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.embedded.lock import holder_of
from pretune import Client
from tests.e2e.running import RunningService, environment_of, running, up_command
from tests.e2e.specs import LONG, start_job, text_file, wait_for_checkpoint
from tests.support.processes import exists
from tests.support.waiting import wait_until

#: A machine may be busy: nothing here waits for that long where all is well.
pytestmark = pytest.mark.timeout(400)
SECONDS = 90


def test_ctrl_c_ends_all_in_order_and_the_next_start_has_everything(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running(data_dir) as service, service.client() as client:
        model = start_job(client, tmp_path).wait().model()
        before = model.predict(["The statement"])
        unfinished = start_job(client, tmp_path, **LONG)
        wait_for_checkpoint(unfinished)
        order = ends_in_order(service)
    assert order == ["trainer", "inference", "api", "broker"]
    assert service.process.returncode == 0
    assert holder_of(data_dir) is None
    with running(data_dir) as service, service.client() as client:
        assert client.models.predict(model.id, ["The statement"]) == before
        again = client.jobs.get(unfinished.id)
        wait_until(lambda: again.refresh().attempt == 2, SECONDS, "the unfinished job goes on")
        step = wait_until(lambda: again.refresh().progress.step, SECONDS, "it reports a step")
        assert step >= 20


def ends_in_order(service: RunningService) -> list[str]:
    members, everything = service.members(), service.descendants()
    assert len(members) == 4
    service.process.send_signal(signal.SIGINT)
    order: list[str] = []

    def all_gone() -> bool:
        order.extend(name for name, pid in members.items() if name not in order and not exists(pid))
        return len(order) == len(members)

    wait_until(all_gone, SECONDS, "all members have ended")
    assert service.process.wait(SECONDS) == 0
    assert not any(exists(pid) for pid in everything)
    return order


def test_a_killed_trainer_comes_back_and_its_job_goes_on_from_a_checkpoint(
    sqlite_service: RunningService, tmp_path: Path
) -> None:
    with sqlite_service.client() as client:
        job = start_job(client, tmp_path, **LONG | {"duration": {"steps": 400}})
        wait_for_checkpoint(job)
        os.kill(sqlite_service.members()["trainer"], signal.SIGKILL)
        assert job.wait().attempt >= 2
        assert "trainer was killed by SIGKILL" in sqlite_service.output


def test_a_killed_broker_and_a_killed_replica_come_back(sqlite_service: RunningService, tmp_path: Path) -> None:
    with sqlite_service.client() as client:
        model = start_job(client, tmp_path).wait().model()
        before = sqlite_service.members()
        for name in ("broker", "inference", "api"):
            os.kill(before[name], signal.SIGKILL)
        wait_until(lambda: len(sqlite_service.members().items() - before.items()) == 3, SECONDS, "three new processes")
        client.wait_until_ready(SECONDS)
        start_job(client, tmp_path).wait()
        assert model.predict(["The statement"])


def test_two_services_beside_each_other_do_not_meet(
    sqlite_service: RunningService, postgresql_service: RunningService, tmp_path: Path
) -> None:
    with sqlite_service.client() as one, postgresql_service.client() as other:
        dataset = one.datasets.upload(text_file(tmp_path), name="only here")
        listed = [entry.id for entry in other.datasets.list()]
        assert dataset.id not in listed


def test_a_second_service_on_the_same_folder_is_told_who_has_it(sqlite_service: RunningService) -> None:
    second = try_up(sqlite_service.data_dir)
    assert second.returncode == 3
    assert f"process {sqlite_service.process.pid}" in second.stderr


def test_the_health_checks_tell_who_lives(sqlite_service: RunningService, tmp_path: Path) -> None:
    assert health(f"{sqlite_service.url}/readyz", sqlite_service.data_dir) == 0
    assert health("trainer", sqlite_service.data_dir) == 0
    assert health("http://127.0.0.1:9/readyz", sqlite_service.data_dir) == 1
    assert health("trainer", tmp_path) == 1


def health(target: str, data_dir: Path) -> int:
    command = [sys.executable, "-m", "app.cli", "health", target, "--json"]
    environment = environment_of({"PRETUNE_DATA_DIR": str(data_dir)})
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    assert json.loads(done.stdout) == {"target": target, "healthy": done.returncode == 0}
    return done.returncode


@pytest.mark.slow
def test_a_script_starts_and_ends_a_service_by_lines_of_json(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    start = up_command(data_dir, "--port", "0", "--json")
    with subprocess.Popen(start, env=environment_of({}), stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        told = json.loads(service.stdout.readline())
        assert told == {"url": told["url"], "pid": service.pid, "data_dir": str(data_dir)}
        with Client(told["url"]) as client:
            assert set(client.ready().checks.values()) == {"ok"}
        stop = [sys.executable, "-m", "app.cli", "down", "--data-dir", str(data_dir), "--json"]
        stopped = subprocess.run(stop, env=environment_of({}), stdout=subprocess.PIPE, check=True)
        assert json.loads(stopped.stdout) == {"pid": service.pid}
        assert service.stdout.read() == "", "the one line is all"
    assert service.returncode == 0


def test_a_taken_port_is_told_before_anything_starts(sqlite_service: RunningService, tmp_path: Path) -> None:
    port = sqlite_service.url.rpartition(":")[2]
    second = try_up(tmp_path / "data", "--port", port)
    assert second.returncode == 3
    assert f"Port {port}" in second.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pretune.lock"]


def test_beyond_loopback_it_does_not_start_without_a_key(tmp_path: Path) -> None:
    second = try_up(tmp_path / "data", "--host", "0.0.0.0", "--port", "0")  # noqa: S104  refused is what we want
    assert second.returncode == 3
    assert "pretune keys create" in second.stderr


def try_up(data_dir: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        up_command(data_dir, *options), env=environment_of({}), capture_output=True, text=True, timeout=60, check=False
    )
